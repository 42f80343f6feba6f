/// A page of a process's own beside those that ``AdminService`` always has. Whoever shows the token may see it.
public struct AdminPage: Sendable {
    public struct Answer: Sendable {
        public var status: Int
        public var contentType: String
        public var headers: [(name: String, value: String)]
        public var text: String

        public init(
            status: Int = 200, contentType: String = "text/plain; charset=utf-8",
            headers: [(name: String, value: String)] = [], text: String
        ) {
            self.status = status
            self.contentType = contentType
            self.headers = headers
            self.text = text
        }
    }

    /// Without the first stroke, as in `profile/cpu`.
    let path: String
    let answer: @Sendable ([String: String]) async throws -> Answer

    /// - Parameter answer: given the query by its names. It may take its time: its task is cancelled when the client goes away,
    ///   and when the process is told to stop.
    public init(_ path: String, answer: @escaping @Sendable ([String: String]) async throws -> Answer) {
        self.path = path
        self.answer = answer
    }
}
