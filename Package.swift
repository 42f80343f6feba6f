// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours is held to the same rules: Swift 6 mode, and a warning is an error.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
]

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let metrics: Target.Dependency = .product(name: "Metrics", package: "swift-metrics")
let coreMetrics: Target.Dependency = .product(name: "CoreMetrics", package: "swift-metrics")
let metricsTestKit: Target.Dependency = .product(name: "MetricsTestKit", package: "swift-metrics")
let tracing: Target.Dependency = .product(name: "Tracing", package: "swift-distributed-tracing")
let lifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let yaml: Target.Dependency = .product(name: "Yams", package: "Yams")
let web: [Target.Dependency] = [
    .product(name: "Hummingbird", package: "hummingbird"),
    // Hummingbird's own types, named because our code does.
    .product(name: "HTTPTypes", package: "swift-http-types"),
    .product(name: "NIOCore", package: "swift-nio"),
]

/// A library target: what it may import stands in one line.
///
/// - Parameter isTestable: whether its tests look inside.
func house(
    _ name: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil, isTestable: Bool = false
) -> Target {
    .target(
        name: name, dependencies: dependencies, resources: resources,
        swiftSettings: strict + (isTestable ? [.unsafeFlags(["-enable-testing"])] : []))
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
    .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

/// What both kinds of long-running process are made of.
let fleet: [Target.Dependency] = [
    "FleetModel", "FleetBroker", "FleetStore", "AMQPClient", "PostgresClient", log, lifecycle,
]

let package = Package(
    name: "gaia-fleet",
    products: [
        .executable(name: "gaia", targets: ["gaia"]),
        // Preloaded by `gaia chaos` into workers whose clock is to be wrong.
        .library(name: "ClockShift", type: .dynamic, targets: ["CClockShift"]),
        .library(name: "GAIAFleet", targets: ["FleetWorker", "FleetModel", "FleetService", "FleetConfiguration"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-metrics", from: "2.5.0"),
        .package(url: "https://github.com/apple/swift-distributed-tracing", from: "1.7.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.100.0"),
    ],
    targets: [
        // The C libraries: module maps and shims, nothing else.
        .systemLibrary(name: "CRabbitMQ", pkgConfig: "librabbitmq", providers: [.apt(["librabbitmq-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "CMalloc"),
        .target(name: "CSpawn"),
        .target(name: "CThreads"),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        // libexpat1-dev
        .target(name: "CExpat", linkerSettings: [.linkedLibrary("expat")]),
        // libssl-dev, zlib1g-dev
        .target(name: "CFiles", linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("z")]),
        .target(name: "CEgress"),
        .target(name: "CClockShift"),
        // For its demangler.
        .target(name: "CProfiler", linkerSettings: [.linkedLibrary("stdc++")]),
        .target(name: "CHTTPFloor"),
        .target(name: "CProcessFloor"),
        .target(name: "CFileFloor", linkerSettings: [.linkedLibrary("crypto"), .linkedLibrary("expat")]),
        .target(name: "CFloor", dependencies: ["CRabbitMQ", "CPostgres"]),

        // Threads for what blocks.
        house("SystemThreads", ["CThreads"]),

        // Their Swift faces: none knows what a job is.
        house("AMQPClient", ["CRabbitMQ", "SystemThreads", log]),
        house("PostgresClient", ["CPostgres", "SystemThreads", log]),
        house("CurlClient", ["CCurl", "AddressPolicy", "SystemThreads"]),
        house("RootedFiles", ["CFiles", "SystemThreads"]),
        house("DocumentStreams", ["CExpat"]),
        house("ProcessKeeper", ["CSpawn", "SystemThreads"], isTestable: true),
        house("NetworkClient", ["COpenSSL", "SystemThreads"], isTestable: true),

        // Which addresses jobs may have connected to: for everything that connects on their behalf.
        house("AddressPolicy"),

        // Browsers: their protocol, the way that their connections take, and the browsers themselves.
        house("DevTools", ["CSpawn", "SystemThreads"], isTestable: true),
        house("EgressProxy", ["CEgress", "CSpawn", "AddressPolicy", "SystemThreads"], isTestable: true),
        house(
            "BrowserPool", ["DevTools", "EgressProxy", "ProcessKeeper", "AddressPolicy", "RootedFiles", metrics],
            isTestable: true),

        // The fleet.
        house("FleetModel"),
        house("FleetConfiguration", ["FleetModel", yaml]),
        house("FleetBroker", ["FleetModel", "FleetObservability", "AMQPClient", log]),
        house(
            "FleetStore", ["FleetModel", "FleetObservability", "PostgresClient", coreMetrics, log],
            resources: [.embedInCode("SQL"), .embedInCode("Migrations")]),
        house("FleetObservability", ["FleetModel", coreMetrics, tracing, log]),
        // Sends spans to a collector.
        house(
            "FleetTracing", ["FleetModel", "FleetObservability", "CurlClient", coreMetrics, tracing, lifecycle, log],
            isTestable: true),
        house("FleetWorker", fleet + ["FleetObservability", coreMetrics, tracing]),
        house("FleetDispatcher", fleet + ["FleetObservability", coreMetrics, tracing]),
        house(
            "FleetHTTP", fleet + web + ["FleetDispatcher", "FleetObservability", tracing],
            resources: [.embedInCode("openapi.json")]),
        house("FleetService", ["FleetConfiguration", "FleetWorker", "AMQPClient", "PostgresClient"]),

        // Subsystems: parameters and handlers, no queue and no SQL.
        house(
            "APISubsystem",
            [
                "FleetModel", "FleetObservability", "CurlClient", "AddressPolicy", "RootedFiles", "CHTTPFloor",
                "SystemThreads", metrics, tracing,
            ],
            isTestable: true),
        house("FileSubsystem", ["FleetModel", "RootedFiles", "DocumentStreams", metrics], isTestable: true),
        // Measures file jobs beside the same work in plain C.
        house("FileLoad", ["FileSubsystem", "RootedFiles", "FleetModel", "CFileFloor"]),
        house(
            "NetworkSubsystem",
            ["FleetModel", "NetworkClient", "CurlClient", "RootedFiles", "AddressPolicy", metrics], isTestable: true),

        house(
            "BrowserSubsystem",
            [
                "FleetModel", "BrowserPool", "CurlClient", "DevTools", "EgressProxy", "ProcessKeeper", "RootedFiles",
                metrics,
            ],
            resources: [.embedInCode("Page.js")], isTestable: true),

        house("ProcessSubsystem", ["FleetModel", "ProcessKeeper", "RootedFiles", metrics]),
        // Measures process jobs beside the bare posix_spawn loop.
        house("ProcessLoad", ["ProcessSubsystem", "RootedFiles", "FleetModel", "CProcessFloor"]),

        // Measures browsers beside a bare script.
        house("BrowserLoad", ["BrowserPool", "DevTools", "ProcessKeeper"]),

        // What a machine without servers needs, and the demo's own HTTP target.
        house("FleetStack", ["CSpawn", "SystemThreads"]),
        house("FleetDemoTarget", web + ["FleetModel", log]),

        // What a live process tells of its inside, and what people read of it.
        house("FleetProfiler", ["CProfiler"], isTestable: true),
        house("ProfileReports", isTestable: true),

        // Looks at a deployment and names what is wrong with it.
        house(
            "FleetDoctor",
            ["FleetModel", "FleetBroker", "FleetStore", "AMQPClient", "PostgresClient", "CurlClient", log],
            resources: [.embedInCode("SQL")], isTestable: true),

        // The live fleet on a terminal.
        house(
            "FleetTop",
            [
                "FleetModel", "FleetBroker", "FleetStore", "FleetDoctor", "AMQPClient", "PostgresClient", log,
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ], isTestable: true),

        // Breaks a fleet of real processes and counts what came of it.
        house(
            "FleetChaos",
            [
                "FleetModel", "FleetBroker", "FleetStore", "AMQPClient", "PostgresClient", "CurlClient", "FleetStack",
                log,
                .product(name: "NIOPosix", package: "swift-nio"),
            ] + web, resources: [.embedInCode("audit.sql")], isTestable: true),

        .executableTarget(
            name: "gaia",
            dependencies: fleet + [
                "FleetConfiguration", "FleetService", "FleetWorker", "FleetDispatcher", "FleetHTTP",
                "FleetObservability", "FleetTracing", tracing, "APISubsystem", "BrowserSubsystem", "BrowserPool",
                "FileSubsystem",
                "NetworkSubsystem", "ProcessSubsystem", "NetworkClient", "BrowserLoad", "FileLoad", "ProcessLoad",
                "CHTTPFloor",
                "AddressPolicy", "RootedFiles", metrics, "FleetStack", "FleetDemoTarget", "FleetChaos", "FleetDoctor",
                "FleetTop", "CurlClient", "CFloor", "CMalloc", "FleetProfiler", "ProfileReports", arguments,
            ],
            swiftSettings: strict,
            linkerSettings: [
                .unsafeFlags(
                    // Runs where no Swift is installed, and a process takes a tenth less memory.
                    ["-static-stdlib"]
                        // Addresses to mend at the start fill a tenth of the space, and so of the memory that it leaves.
                        + ["-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"])
            ]
                + ["CoreFoundation", "_FoundationICU", "_FoundationCollections", "_FoundationCShims"].map {
                    .linkedLibrary($0)
                }),

        // A service of a user's own: the public API is all that it has.
        .executableTarget(
            name: "example-service",
            dependencies: ["FleetWorker", "FleetModel", "FleetConfiguration", "FleetService", log, lifecycle],
            path: "Sources/ExampleService", swiftSettings: strict),

        // Tests, and what they are written with.
        .target(name: "TestPatience", path: "Tests/TestPatience", swiftSettings: strict),
        .target(name: "TestSockets", dependencies: ["SystemThreads"], path: "Tests/TestSockets", swiftSettings: strict),
        .target(
            name: "RawAMQP", dependencies: ["AMQPClient", "TestSockets"], path: "Tests/RawAMQP", swiftSettings: strict),
        house(
            "FleetTestKit",
            fleet + ["FleetWorker", "FleetDispatcher", "FleetStack", "SystemThreads", "TestPatience", "TestSockets"]),
        tests("AddressPolicyTests", ["AddressPolicy"]),
        tests(
            "CurlClientTests", ["CurlClient", "AddressPolicy", "FleetStack", "TestPatience", "TestSockets"],
            exclude: ["Resources"]),
        tests(
            "AMQPClientTests",
            ["AMQPClient", "FleetModel", "FleetStack", "RawAMQP", "SystemThreads", "TestPatience", "TestSockets", log]),
        tests("PostgresClientTests", ["PostgresClient", "FleetStack", "TestPatience", log]),
        tests("RootedFilesTests", ["RootedFiles", "FleetStack"]),
        tests("DocumentStreamsTests", ["DocumentStreams", "FleetStack"]),
        // Processes of file jobs, for the tests that kill them and look at their memory.
        .executableTarget(
            name: "file-work", dependencies: ["FileLoad", "RootedFiles"], path: "Tests/FileWorkService",
            swiftSettings: strict),
        tests(
            "FileSubsystemTests",
            [
                "FileSubsystem", "RootedFiles", "FleetModel", "FleetStack", "file-work", "TestPatience", metrics,
                metricsTestKit,
            ],
            exclude: ["Resources"]),
        // Programs that misbehave, and a worker that is killed while it runs them.
        .executableTarget(name: "process-tricks", path: "Tests/ProcessTricks"),
        .executableTarget(
            name: "process-worker", dependencies: ["ProcessKeeper"], path: "Tests/ProcessWorker",
            swiftSettings: strict),
        tests(
            "ProcessKeeperTests", ["ProcessKeeper", "FleetStack", "process-tricks", "process-worker", "TestPatience"]),
        tests(
            "ProcessSubsystemTests", ["ProcessSubsystem", "ProcessLoad", "FleetModel", "RootedFiles"],
            exclude: ["Resources"]),
        tests("DevToolsTests", ["DevTools"]),
        .target(
            name: "PageServer", dependencies: ["SystemThreads", "TestSockets"], path: "Tests/PageServer",
            swiftSettings: strict),
        tests("EgressProxyTests", ["EgressProxy", "AddressPolicy", "FleetStack", "PageServer", "TestPatience"]),
        // A worker with a pool of browsers that is killed while it uses them.
        .executableTarget(
            name: "browser-worker", dependencies: ["BrowserPool", "DevTools"], path: "Tests/BrowserWorker",
            swiftSettings: strict),
        tests(
            "BrowserPoolTests",
            [
                "BrowserPool", "BrowserLoad", "DevTools", "EgressProxy", "AddressPolicy", "FleetStack", "PageServer",
                "browser-worker", "TestPatience", "TestSockets",
            ]),
        tests("NetworkClientTests", ["NetworkClient", "FleetStack", "TestPatience"], exclude: ["Resources"]),
        tests(
            "NetworkSubsystemTests",
            [
                "NetworkSubsystem", "NetworkClient", "FleetModel", "CurlClient", "RootedFiles", "AddressPolicy",
                "FleetStack", "TestPatience", metrics, metricsTestKit,
            ], exclude: ["Resources"]),
        tests(
            "BrowserSubsystemTests",
            [
                "BrowserSubsystem", "BrowserPool", "DevTools", "AddressPolicy", "FleetModel", "FleetStack",
                "RootedFiles", "TestPatience", "TestSockets",
                metrics, metricsTestKit,
            ], exclude: ["Resources"]),
        tests("FleetStackTests", ["FleetStack", "TestPatience", "TestSockets"]),
        tests("FleetModelTests", ["FleetModel"]),
        tests("FleetConfigurationTests", ["FleetConfiguration", "FleetStack"]),
        tests("FleetBrokerTests", ["FleetBroker", "FleetModel", "FleetTestKit", "AMQPClient"]),
        tests(
            "FleetWorkerTests",
            [
                "FleetWorker", "FleetBroker", "FleetModel", "FleetStore", "FleetTestKit", "AMQPClient",
                "PostgresClient", "TestPatience", coreMetrics, tracing,
            ]),
        tests("FleetObservabilityTests", ["FleetObservability", "FleetModel", "TestPatience", metrics, log]),
        tests(
            "FleetTracingTests",
            [
                "FleetTracing", "FleetObservability", "FleetTestKit", "TestPatience", tracing, coreMetrics, lifecycle,
                log,
            ]),
        .target(name: "CProfilerSignals", path: "Tests/CProfilerSignals"),
        tests("FleetProfilerTests", ["FleetProfiler", "CProfiler", "CProfilerSignals", "TestPatience"]),
        tests("ProfileReportsTests", ["ProfileReports"]),
        tests("FleetStoreTests", ["FleetStore", "FleetModel", "PostgresClient", "TestPatience", log]),
        tests(
            "APISubsystemTests",
            [
                "APISubsystem", "AddressPolicy", "CurlClient", "FleetModel", "FleetStack", "RootedFiles", "CHTTPFloor",
                "TestPatience", "TestSockets",
                metricsTestKit,
            ], exclude: ["Resources"]),
        // A worker process whose jobs hold locks, for the tests that kill and stop it.
        .executableTarget(
            name: "locking-service",
            dependencies: fleet + ["FleetWorker", "FleetConfiguration", "FleetService"],
            path: "Tests/LockingService", swiftSettings: strict),
        tests(
            "FleetTests",
            fleet + [
                "FleetTestKit", "FleetWorker", "FleetDispatcher", "FleetHTTP", "FleetStack", "APISubsystem",
                "CurlClient", "ProfileReports", "RawAMQP", "TestPatience", "TestSockets",
            ], exclude: ["Resources"]),
        tests(
            "FleetDoctorTests",
            [
                "FleetDoctor", "FleetBroker", "FleetModel", "FleetStore", "AMQPClient", "PostgresClient", "FleetStack",
                "FleetTestKit", "FleetWorker", "FleetDispatcher", "TestPatience",
            ]),
        tests("FleetTopTests", ["FleetTop", "FleetStore", "FleetBroker"]),
        tests("FleetChaosTests", ["FleetChaos", "FleetModel", "FleetStack", "SystemThreads", "TestSockets"]),
        tests("FleetSimulationTests", ["FleetStore", "FleetModel", "PostgresClient", log]),
        tests("FleetDemoTargetTests", ["FleetDemoTarget", "CurlClient", "TestPatience", log, lifecycle]),
    ]
)
