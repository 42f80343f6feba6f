import FleetModel
import FleetStack
import Foundation
import Testing

@testable import BrowserSubsystem

/// A PNG, to look into.
struct Picture {
    let path: String

    /// Red, green and blue of each.
    func pixels(_ points: [(Int, Int)]) async throws -> [[Int]] {
        let process = try ChildProcess.start(
            executable: "python3",
            arguments: [PageServer.resource("pixels.py"), path] + points.map { "\($0.0),\($0.1)" }, output: .capture)
        let status = await process.exitStatus()
        guard status == .exited(0) else { throw Failure("pixels.py: \(process.capturedOutput)") }
        return process.standardOutput.split(separator: "\n").map { $0.split(separator: " ").compactMap { Int($0) } }
    }
}

extension BrowserTests {
    @Suite("Screenshots and documents")
    struct CaptureTests {
        private let red = [255, 0, 0]
        private let green = [0, 255, 0]
        private let blue = [0, 0, 255]

        @Test("A screenshot shows the viewport, or all of the page")
        func screenshot() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            for isFull in [false, true] {
                let output = try await desk.visit(
                    VisitParameters(url: server.url("tall"), screenshot: ScreenshotWish(fullPage: isFull)))
                let path = try #require(output.screenshot.file.path.string)
                let content = try desk.content(path)
                let header = try #require(PNGHeader(Array(content)))
                #expect(header.width == 1_280)
                #expect(header.height == (isFull ? 3_000 : 720))
                #expect(output.screenshot.height.int == header.height)
                #expect(output.screenshot.file.bytes.int == content.count)
                #expect(output.screenshot.cut.bool == false)
                let points = isFull ? [(600, 500), (600, 1_500), (600, 2_500)] : [(600, 500)]
                let colours = isFull ? [red, green, blue] : [red]
                #expect(try await Picture(path: try desk.file(path)).pixels(points) == colours)
            }
        }

        @Test("A telephone's screenshot has its device pixels")
        func scaled() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            var options = PageOptions()
            options.viewport = PageOptions.Viewport(width: 390, height: 844, scale: 3, mobile: true)
            let output = try await desk.visit(
                VisitParameters(
                    url: server.url("small"), screenshot: ScreenshotWish(file: "data:shots/telephone.png"),
                    page: options))
            #expect(output.screenshot.file.path.string == "data:shots/telephone.png")
            #expect(output.screenshot.width.int == 1_170)
            #expect(output.screenshot.height.int == 2_532)
        }

        @Test("A page without end is cut where a picture must end")
        func cut() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(url: server.url("endless"), screenshot: ScreenshotWish(fullPage: true)))
            #expect(output.screenshot.cut.bool == true)
            #expect(output.screenshot.height.int == ScreenshotWish.heightMax)
        }

        @Test("A document has the page's content, on the paper that was asked for")
        func pdf() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.visit(
                VisitParameters(url: server.url("tall"), pdf: PDFWish(paper: .a5, file: "data:print/tall.pdf")))
            #expect(output.pdf.path.string == "data:print/tall.pdf")
            let content = try desk.content("data:print/tall.pdf")
            #expect(content.starts(with: Array("%PDF-".utf8)))
            #expect(output.pdf.bytes.int == content.count)
            let about = try await Self.pdfinfo(try desk.file("data:print/tall.pdf"))
            #expect(about["Page size"]?.hasPrefix("420 x 595") == true)
            #expect(try #require(about["Pages"].flatMap { Int($0) }) >= 3)
        }

        @Test("A script takes pictures at several moments, each a file of its own")
        func script() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let output = try await desk.script(
                server.url("tall"), .screenshot(ScreenshotWish()), .scroll(.by(x: 0, y: 1_000)),
                .screenshot(ScreenshotWish()), .pdf(PDFWish()))
            let paths = [output.steps[1].screenshot.file.path.string, output.steps[3].screenshot.file.path.string]
            #expect(paths[0] != paths[1])
            var colours: [[Int]] = []
            for path in paths {
                colours += try await Picture(path: try desk.file(try #require(path))).pixels([(600, 500)])
            }
            #expect(colours == [red, green])
            #expect(output.steps[4].pdf.path.string?.hasSuffix("-5.pdf") == true)
        }

        @Test("A repeat of a job replaces its own files, and leaves none behind")
        func repeated() async throws {
            let (desk, server) = (try Desk.shared, try await PageServer.shared.value)
            let parameters = VisitParameters(url: server.url("small"), screenshot: ScreenshotWish())
            let first = try await desk.visit(parameters, key: "repeated/shot")
            let second = try await desk.visit(parameters, key: "repeated/shot")
            let path = try #require(first.screenshot.file.path.string)
            #expect(second.screenshot.file.path.string == path)
            let directory = URL(fileURLWithPath: try desk.file(path)).deletingLastPathComponent().path
            let names = try FileManager.default.contentsOfDirectory(atPath: directory)
            #expect(names.filter { $0.contains("repeated%2fshot") || $0.hasPrefix(".gaia") }.count == 1)
        }

        private static func pdfinfo(_ path: String) async throws -> [String: String] {
            let process = try ChildProcess.start(executable: "pdfinfo", arguments: [path], output: .capture)
            guard await process.exitStatus() == .exited(0) else { throw Failure("pdfinfo: \(process.capturedOutput)") }
            var about: [String: String] = [:]
            for line in process.standardOutput.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                if parts.count == 2 { about[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces) }
            }
            return about
        }
    }
}
