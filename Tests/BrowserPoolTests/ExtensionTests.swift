import BrowserPool
import DevTools
import Foundation
import Glibc
import PageServer
import Testing

extension Browsers {
    /// One that marks every page, and whose own script asks a server for something.
    private static func makeExtension(in directory: String, asking url: String) throws {
        let files = [
            "manifest.json": """
            {"manifest_version": 3, "name": "mark", "version": "1", "host_permissions": ["<all_urls>"],
             "background": {"service_worker": "background.js"},
             "content_scripts": [{"matches": ["<all_urls>"], "js": ["mark.js"], "run_at": "document_start"}]}
            """,
            "mark.js": "document.documentElement.setAttribute('data-mark', 'made')",
            "background.js": "fetch('\(url)/background').catch(() => 0)",
        ]
        guard chmod(directory, 0o755) == 0 else { throw ServerFailure("chmod: \(errno)") }
        for (name, text) in files {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
        }
    }

    @Test("An extension from a configured directory works in every job's pages, and its own script reaches nothing")
    func extensions() async throws {
        try await PageServer.with { _ in
            .page("<title>page</title>")
        } _: { server in
            try await Self.withParent { directory in
                try Self.makeExtension(in: directory, asking: server.url)
                try await Self.withPool {
                    $0.extensions = [directory]
                    $0.warmTabs = 0
                } _: { pool in
                    for _ in 0..<2 {
                        try await pool.withTab { tab in
                            try await tab.open(server.url)
                            #expect(try await tab.value("document.documentElement.dataset.mark") == "made")
                        }
                    }
                }
            }
            #expect(!server.requests.contains { $0.path == "/background" })
        }
    }
}
