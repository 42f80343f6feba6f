/// A CPU profile as a picture: a box for each function in each place where it was called from, as wide as the samples that
/// found it there.
///
/// The SVG has all that it needs within it. Without scripts, as in an image viewer, it is a picture with its names; in a
/// browser a click makes a box fill the width, and a search marks boxes and sums them up.
public struct FlameGraph {
    private struct Box {
        let name: String
        let depth, start, total: Int
    }

    private let title: String
    private let boxes: [Box]
    private let samples: Int
    private let depth: Int

    private static let rowHeight = 19
    private static let headHeight = 84
    private static let width = 1_200
    private static let margin = 10
    /// Of a character, as wide as is left to it.
    private static let characterWidth = 6.9
    /// Of all samples: narrower boxes would not be seen.
    private static let leastShare = 0.0001

    /// - Parameter title: what was looked at, for how long.
    public init(_ stacks: FoldedStacks, title: String) {
        var boxes: [Box] = []
        let tree = CallTree(stacks)
        let least = max(1, Int((Double(tree.total) * Self.leastShare).rounded(.up)))
        func add(_ tree: CallTree, depth: Int, start: Int) {
            boxes.append(Box(name: tree.name, depth: depth, start: start, total: tree.total))
            var next = start
            for child in tree.children {
                if child.total >= least { add(child, depth: depth + 1, start: next) }
                next += child.total
            }
        }
        add(tree, depth: 0, start: 0)
        self.title = title
        self.boxes = boxes
        samples = tree.total
        depth = boxes.map(\.depth).max() ?? 0
    }

    /// The whole file.
    public var svg: String {
        let height = Self.headHeight + (depth + 1) * Self.rowHeight + 2 * Self.margin
        var svg = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" width="\(Self.width)" height="\(height)" \
            viewBox="0 0 \(Self.width) \(height)" data-samples="\(samples)">
            <style>\(Self.style)</style>
            <rect class="page" width="100%" height="100%"/>
            <text class="title" x="\(Self.margin)" y="24">\(Markup.text(title))</text>
            <text class="note" x="\(Self.margin)" y="43">\(Self.grouped(samples)) samples of processor time. \
            Callers above, what they call below; as wide as its time. Click: closer. Escape: all again.</text>
            \(legend)
            <foreignObject class="tools" x="\(Self.width - 330)" y="52" width="320" height="28">\
            <div xmlns="http://www.w3.org/1999/xhtml"><input type="search" placeholder="find a function" \
            aria-label="find a function"/><button type="button">all</button></div></foreignObject>
            <text class="found" text-anchor="end" x="\(Self.width - Self.margin)" y="43"></text>

            """
        for box in boxes { svg += element(box) }
        return svg + "<script><![CDATA[\(Self.script)]]></script>\n</svg>\n"
    }

    private func element(_ box: Box) -> String {
        let scale = Double(Self.width - 2 * Self.margin) / Double(max(samples, 1))
        let (x, width) = (Double(Self.margin) + Double(box.start) * scale, Double(box.total) * scale)
        let y = Self.headHeight + box.depth * Self.rowHeight
        let room = Int((width - 6) / Self.characterWidth)
        let kind = FrameKind(box.name, depth: box.depth)
        let shown = Self.label(box.name, kind, room)
        let share = Double(box.total) / Double(max(samples, 1))
        return """
            <g class="f \(kind.rawValue)" data-x="\(box.start)" data-w="\(box.total)" data-d="\(box.depth)">\
            <title>\(Markup.text(box.name)): \(Self.grouped(box.total)) samples, \(Markup.percent(share))</title>\
            <rect x="\(Markup.number(x))" y="\(y)" width="\(Markup.number(max(width - 0.4, 0.3)))" \
            height="\(Self.rowHeight - 1)" rx="1.5" style="--h:\(kind.hue(box.name))"/>\
            <text x="\(Markup.number(x + 3))" y="\(y + 13)">\(Markup.text(shown))</text></g>

            """
    }

    /// What of a name finds room. A module is told by its hue, and so left out first.
    private static func label(_ name: String, _ kind: FrameKind, _ room: Int) -> String {
        if room < 3 { return "" }
        if name.count <= room { return name }
        let short = kind == .module ? name.drop { $0 != "." }.dropFirst() : name[...]
        return short.count <= room ? String(short) : short.prefix(room - 1) + "…"
    }

    private var legend: String {
        var x = Self.margin
        return FrameKind.allCases.map { kind in
            defer { x += 24 + Int(Double(kind.meaning.count) * 6.6) + 14 }
            return """
                <g class="key \(kind.rawValue)"><rect x="\(x)" y="58" width="14" height="14" rx="2" \
                style="--h:\(kind.hue(""))"/><text x="\(x + 20)" y="70">\(kind.meaning)</text></g>
                """
        }.joined()
    }

    static func grouped(_ number: Int) -> String {
        var digits = String(number)
        var place = digits.count - 3
        while place > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
            place -= 3
        }
        return digits
    }

    // The boxes are light and their names dark on either page.
    private static let style = """
        svg{--page:#fff;--ink:#1c1c1e;--soft:#5c5c66;font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
        @media(prefers-color-scheme:dark){svg{--page:#17181c;--ink:#ececf0;--soft:#a5a6b0}}\
        .page{fill:var(--page)}.title{fill:var(--ink);font:600 17px system-ui,sans-serif}\
        .note,.found,.key text{fill:var(--soft);font:12.5px system-ui,sans-serif}\
        .f{cursor:pointer}.f text{fill:#1c1c1e;pointer-events:none;font-size:11.5px}\
        .f rect,.key rect{fill:hsl(var(--h) 82% 72%)}\
        .runtime rect{fill:hsl(var(--h) 38% 80%)}.library rect{fill:hsl(var(--h) 34% 74%)}\
        .thread rect{fill:hsl(var(--h) 8% 78%)}\
        .f:hover rect{stroke:var(--ink);stroke-width:1.2}.f.above{opacity:.55}.f.hit rect{fill:#d43cff}\
        .f.hit text{fill:#fff}.searching .f:not(.hit){opacity:.45}\
        .tools div{display:flex;gap:6px;justify-content:flex-end}\
        .tools input,.tools button{font:12.5px system-ui,sans-serif;color:var(--ink);background:var(--page);\
        border:1px solid var(--soft);border-radius:5px;padding:3px 8px}.tools input{width:220px}
        """

    private static let script = """
        (function () {
          'use strict';
          const svg = document.documentElement, margin = \(margin), charWidth = \(characterWidth);
          const all = Number(svg.dataset.samples) || 1;
          const found = svg.querySelector('.found'), tools = svg.querySelector('.tools');
          const input = tools.querySelector('input'), button = tools.querySelector('button');
          const boxes = Array.from(svg.querySelectorAll('g.f')).map(function (g) {
            const title = g.querySelector('title').textContent;
            return { g: g, rect: g.querySelector('rect'), text: g.querySelector('text'),
              name: title.slice(0, title.lastIndexOf(': ')), isModule: g.classList.contains('module'), x: +g.dataset.x, w: +g.dataset.w, d: +g.dataset.d };
          });
          let view = boxes[0];
          function label(box, room) {
            if (room < 3) return '';
            if (box.name.length <= room) return box.name;
            const short = box.isModule ? box.name.slice(box.name.indexOf('.') + 1) : box.name;
            return short.length <= room ? short : short.slice(0, room - 1) + '\\u2026';
          }
          function draw() {
            const width = Math.max(600, (window.innerWidth || \(width)) - 16), height = svg.getAttribute('height');
            svg.setAttribute('width', width);
            svg.setAttribute('viewBox', '0 0 ' + width + ' ' + height);
            tools.setAttribute('x', width - 330);
            found.setAttribute('x', width - margin);
            const scale = (width - 2 * margin) / (view.w || 1), end = view.x + view.w;
            for (const box of boxes) {
              const above = box.d < view.d && box.x <= view.x && box.x + box.w >= end;
              const inside = box.d >= view.d && box.x >= view.x && box.x + box.w <= end;
              box.g.style.display = above || inside ? '' : 'none';
              box.g.classList.toggle('above', above);
              if (!above && !inside) continue;
              const x = above ? margin : margin + (box.x - view.x) * scale;
              const w = above ? width - 2 * margin : box.w * scale;
              box.rect.setAttribute('x', x.toFixed(2));
              box.rect.setAttribute('width', Math.max(w - 0.4, 0.3).toFixed(2));
              box.text.setAttribute('x', (x + 3).toFixed(2));
              const room = Math.floor((w - 6) / charWidth);
              box.text.textContent = label(box, room);
            }
          }
          function find() {
            const wanted = input.value.trim().toLowerCase();
            svg.classList.toggle('searching', wanted !== '');
            let sum = 0, until = -1;
            for (const box of boxes) {
              const hit = wanted !== '' && box.d > 0 && box.name.toLowerCase().includes(wanted);
              box.g.classList.toggle('hit', hit);
              // Outer boxes come first: what lies within one that was counted is not counted again.
              if (hit && box.x >= until) { sum += box.w; until = box.x + box.w; }
            }
            found.textContent = wanted === '' ? '' : (100 * sum / all).toFixed(1) + ' % of samples go through these';
          }
          function show(box) { view = box; draw(); }
          for (const box of boxes) box.g.addEventListener('click', function () { show(box); });
          button.addEventListener('click', function () { input.value = ''; find(); show(boxes[0]); });
          input.addEventListener('input', find);
          window.addEventListener('keydown', function (event) { if (event.key === 'Escape') button.click(); });
          window.addEventListener('resize', draw);
          draw();
        })();
        """
}

/// Whose a frame is, as far as its name tells.
enum FrameKind: String, CaseIterable {
    case module, runtime, library, thread

    init(_ name: String, depth: Int) {
        if depth <= 1 {
            self = .thread
        } else if ["swift", "_swift", "Swift.", "_dispatch", "dispatch", "Dispatch.", "_pthread"].contains(where: {
            name.hasPrefix($0)
        })
            || name.hasPrefix("ProcessOutOfLineJob")
        {
            self = .runtime
        } else if let first = name.first, first.isUppercase, name.contains("."), !name.contains("::"),
            !name.contains("+0x")
        {
            self = .module
        } else {
            self = .library
        }
    }

    var meaning: String {
        switch self {
        case .module: "Swift modules, a hue each"
        case .runtime: "Swift's runtime and library"
        case .library: "C libraries"
        case .thread: "threads"
        }
    }

    /// In degrees. Modules are told apart, the others by what they are.
    func hue(_ name: String) -> Int {
        switch self {
        case .module:
            // Warm ones: the sum of the letters, since it is to be the same in every run.
            (name.prefix { $0 != "." }.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF } % 8) * 12
                + (name.isEmpty ? 30 : 0)
        case .runtime: 250
        case .library: 165
        case .thread: 220
        }
    }
}
