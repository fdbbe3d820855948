// swift-tools-version: 6.2
import PackageDescription

// `dev/bootstrap` puts DuckDB's header and shared library here.
let duckdb = Context.packageDirectory + "/.deps/duckdb"

let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .treatAllWarnings(as: .error),
  .unsafeFlags(["-Xcc", "-I\(duckdb)/include"]),
]
let linkerSettings: [LinkerSetting] = [
  .unsafeFlags([
    "-L\(duckdb)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(duckdb)/lib",
  ])
]

func product(_ name: String, _ package: String) -> Target.Dependency {
  .product(name: name, package: package)
}

let log = product("Logging", "swift-log")
let metrics = product("Metrics", "swift-metrics")
let nio = [product("NIOCore", "swift-nio"), product("NIOPosix", "swift-nio")]
let lifecycle = product("ServiceLifecycle", "swift-service-lifecycle")

func target(_ name: String, path: String? = nil, _ dependencies: [Target.Dependency]) -> Target {
  .target(
    name: name, dependencies: dependencies, path: path ?? "Sources/\(name)",
    swiftSettings: swiftSettings)
}

func tests(
  _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: "Tests/\(name)", exclude: exclude,
    swiftSettings: swiftSettings, linkerSettings: linkerSettings)
}

let package = Package(
  name: "martlet",
  platforms: [.macOS(.v15)],
  products: [.executable(name: "martlet", targets: ["martlet"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-crypto", "3.12.3"..<"5.0.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    .package(url: "https://github.com/grpc/grpc-swift-protobuf", from: "2.4.1"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    .systemLibrary(name: "CDuckDB", path: "Sources/CDuckDB"),
    .systemLibrary(name: "CRdKafka", path: "Sources/CRdKafka"),
    .systemLibrary(name: "CZlib", path: "Sources/CZlib"),
    target(
      "Core", [log, product("DequeModule", "swift-collections"), product("Crypto", "swift-crypto")]),
    target(
      "Wire",
      [
        product("SwiftProtobuf", "swift-protobuf"), product("GRPCCore", "grpc-swift-2"),
        product("GRPCProtobuf", "grpc-swift-protobuf"),
      ]),
    target(
      "Catalog",
      [
        "Core", product("Crypto", "swift-crypto"), product("GRDB", "GRDB.swift"),
        product("Yams", "Yams"), log,
      ]),
    target(
      "Workers",
      ["Core", "Wire", log, metrics, lifecycle, product("SwiftProtobuf", "swift-protobuf")] + nio),
    target(
      "Features",
      [
        "Core", "Workers", log, metrics, product("Crypto", "swift-crypto"),
        product("DequeModule", "swift-collections"),
      ]),
    target(
      "Serving",
      [
        "Core", "Workers", "Features", log, metrics, lifecycle,
        product("DequeModule", "swift-collections"),
      ]),
    target("Monitoring", ["Core", log, metrics]),
    target("Jobs", ["Core", "Workers", product("GRDB", "GRDB.swift"), log, metrics, lifecycle]),
    target(
      "EmbeddedBackend", path: "Sources/Backends/Embedded",
      ["Core", log, product("Crypto", "swift-crypto")]),
    target(
      "RedisBackend", path: "Sources/Backends/Redis",
      [
        "Core", log, product("Crypto", "swift-crypto"), product("DequeModule", "swift-collections"),
        product("NIOSSL", "swift-nio-ssl"),
      ] + nio),
    target("DuckDBBackend", path: "Sources/Backends/DuckDB", ["Core", "CDuckDB", log]),
    target(
      "KafkaBackend", path: "Sources/Backends/Kafka",
      ["Core", "CRdKafka", log, product("DequeModule", "swift-collections")]),
    target("NativeModelsBackend", path: "Sources/Backends/NativeModels", ["Core"]),
    target(
      "Server",
      [
        "Core", "Wire", "Catalog", "Workers", "Features", "Serving", "Monitoring", "Jobs",
        "EmbeddedBackend", "DuckDBBackend", "RedisBackend", "KafkaBackend", "NativeModelsBackend",
        "CZlib", log, metrics, lifecycle,
        product("Hummingbird", "hummingbird"), product("GRPCCore", "grpc-swift-2"),
        product("GRPCProtobuf", "grpc-swift-protobuf"),
        product("AsyncHTTPClient", "async-http-client"),
        product("GRPCNIOTransportHTTP2", "grpc-swift-nio-transport"),
        product("SwiftProtobuf", "swift-protobuf"), product("Yams", "Yams"),
      ] + nio),
    .executableTarget(
      name: "martlet",
      dependencies: [
        "Server", "Core", product("ArgumentParser", "swift-argument-parser"),
        product("AsyncHTTPClient", "async-http-client"),
      ],
      path: "Sources/martlet", swiftSettings: swiftSettings, linkerSettings: linkerSettings),
    target("TestKit", ["Core", product("DequeModule", "swift-collections")]),
    .executableTarget(
      name: "MockKafka", dependencies: ["CRdKafka"], path: "Tests/MockKafka",
      swiftSettings: swiftSettings),
    tests("TidyTests", []),
    tests(
      "RoomTests",
      [
        "Core", "Wire", "Catalog", "Workers", "Features", "Serving", "Monitoring", "Jobs",
        "EmbeddedBackend", "NativeModelsBackend", "Server", "TestKit",
        product("GRDB", "GRDB.swift"), lifecycle, log,
        product("SwiftProtobuf", "swift-protobuf"),
      ] + nio, exclude: ["Catalog/Fixtures", "ConfigurationFixtures"]),
    tests(
      "BackendTests",
      [
        "Core", "DuckDBBackend", "EmbeddedBackend", "Features", "KafkaBackend", "MockKafka",
        "RedisBackend", "TestKit", log,
      ] + nio),
    tests(
      "RingTests",
      [
        "Core", "Catalog", "Features", "Workers", "Jobs", "Monitoring", "Serving", "DuckDBBackend",
        "EmbeddedBackend", "TestKit", log, lifecycle,
      ]),
    tests(
      "ServerTests",
      [
        "Core", "KafkaBackend", "MockKafka", "RedisBackend", "Wire", "TestKit", "martlet", log,
        product("AsyncHTTPClient", "async-http-client"),
        product("GRPCCore", "grpc-swift-2"), product("GRPCProtobuf", "grpc-swift-protobuf"),
        product("GRPCNIOTransportHTTP2", "grpc-swift-nio-transport"),
      ] + nio),
  ]
)
