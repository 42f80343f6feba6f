"""Prints the colours of pixels of a PNG, as `r g b` a line: pixels.py FILE X,Y ..."""
import struct, sys, zlib

data = open(sys.argv[1], 'rb').read()
assert data[:8] == b'\x89PNG\r\n\x1a\n'
at, packed = 8, b''
while at < len(data):
    length, kind = struct.unpack('>I4s', data[at:at + 8])
    if kind == b'IHDR':
        width, height, depth, colours = struct.unpack('>IIBB', data[at + 8:at + 18])
    elif kind == b'IDAT':
        packed += data[at + 8:at + 8 + length]
    at += 12 + length
assert depth == 8 and colours in (2, 6), (depth, colours)
size = 3 if colours == 2 else 4
raw, stride = zlib.decompress(packed), width * size
wanted = [tuple(map(int, pair.split(','))) for pair in sys.argv[2:]]
last = max(y for _, y in wanted)
rows, before = {}, bytearray(stride)
for y in range(last + 1):
    kind, row = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
    if kind == 2:
        for x in range(stride):
            row[x] = (row[x] + before[x]) & 255
    elif kind:
        for x in range(stride):
            left = row[x - size] if x >= size else 0
            up, corner = before[x], before[x - size] if x >= size else 0
            if kind == 1:
                guess = left
            elif kind == 3:
                guess = (left + up) // 2
            else:
                p = left + up - corner
                guess = min((abs(p - left), 0, left), (abs(p - up), 1, up), (abs(p - corner), 2, corner))[2]
            row[x] = (row[x] + guess) & 255
    rows[y] = before = row
for x, y in wanted:
    print(*rows[y][x * size:x * size + 3])
