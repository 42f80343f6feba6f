internal import CCurl

/// Owns a CURL easy handle.
struct EasyHandle: ~Copyable {
    let raw: UnsafeMutableRawPointer

    init() throws(CurlError) {
        guard let raw = curl_easy_init() else {
            throw CurlError(.interrupted, "out of memory making a transfer handle")
        }
        self.raw = raw
    }

    deinit { curl_easy_cleanup(raw) }

    func set(_ option: CURLoption, _ value: Int) throws(CurlError) {
        try check(option, ccurl_easy_set_long(raw, option, value))
    }
    func set(_ option: CURLoption, offset value: Int) throws(CurlError) {
        try check(option, ccurl_easy_set_offset(raw, option, curl_off_t(value)))
    }
    func set(_ option: CURLoption, _ value: String?) throws(CurlError) {
        try check(option, ccurl_easy_set_string(raw, option, value))
    }
    func set(_ option: CURLoption, pointer value: UnsafeMutableRawPointer?) throws(CurlError) {
        try check(option, ccurl_easy_set_pointer(raw, option, value))
    }

    func check(_ option: CURLoption, _ code: CURLcode) throws(CurlError) {
        guard code == CURLE_OK else {
            throw CurlError(
                .interrupted, code: Int(code.rawValue),
                "libcurl \(CurlLibrary.version) does not take option \(option.rawValue)")
        }
    }

    func long(_ info: CURLINFO) -> Int {
        var value = 0
        ccurl_easy_get_long(raw, info, &value)
        return value
    }

    func offset(_ info: CURLINFO) -> Int {
        var value: curl_off_t = 0
        ccurl_easy_get_offset(raw, info, &value)
        return Int(value)
    }

    func microseconds(_ info: CURLINFO) -> Duration { .microseconds(offset(info)) }

    func string(_ info: CURLINFO) -> String? {
        var value: UnsafeMutablePointer<CChar>?
        ccurl_easy_get_string(raw, info, &value)
        return value.map { String(cString: $0) }
    }
}
