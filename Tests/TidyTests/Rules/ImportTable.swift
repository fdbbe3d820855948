/// Who may import whom: the one place where a new edge between targets is allowed.
///
/// Data goes round, imports only go down. A room never imports a backend, a transport or the
/// catalog; it gets snapshots and ports. See ARCHITECTURE.md.
enum ImportTable {
  struct Row: Sendable {
    let target: String
    let folder: String
    /// Modules beside those of `anyone`; a name that ends in `*` stands for a family.
    let may: Set<String>

    init(_ target: String, folder: String? = nil, _ may: Set<String>) {
      self.target = target
      self.folder = folder ?? "Sources/\(target)"
      self.may = may
    }
  }

  /// The system, APIs without an implementation, and values that do no I/O: open to every target.
  static let anyone: Set<String> = [
    "CoreMetrics", "Crypto", "Darwin", "DequeModule", "Dispatch", "Foundation",
    "FoundationEssentials", "Glibc", "Logging", "Metrics", "Musl", "RegexBuilder",
    "ServiceLifecycle", "Synchronization",
  ]

  private static let rooms: Set<String> = [
    "Catalog", "Core", "DuckDBBackend", "EmbeddedBackend", "Features", "Jobs", "KafkaBackend",
    "Monitoring", "NativeModelsBackend", "RedisBackend", "Serving", "Wire", "Workers",
  ]

  /// Transports and their machinery: only where a request enters or leaves.
  private static let transports: Set<String> = [
    "AsyncHTTPClient", "GRPC*", "HTTPTypes", "Hummingbird*", "NIO*", "SwiftProtobuf",
    "UnixSignals",
  ]

  static let rows = [
    Row("Core", []),
    Row("Wire", ["GRPCCore", "GRPCProtobuf", "SwiftProtobuf"]),
    Row("Catalog", ["Core", "GRDB", "Yams"]),
    Row("Workers", ["Core", "NIO*", "SwiftProtobuf", "Wire"]),
    Row("Features", ["Core", "Workers"]),
    Row("Serving", ["Core", "Features", "Workers"]),
    Row("Monitoring", ["Core"]),
    Row("Jobs", ["Core", "GRDB", "Workers"]),
    Row("EmbeddedBackend", folder: "Sources/Backends/Embedded", ["Core"]),
    Row("DuckDBBackend", folder: "Sources/Backends/DuckDB", ["CDuckDB", "Core"]),
    Row("RedisBackend", folder: "Sources/Backends/Redis", ["Core", "NIO*"]),
    Row("KafkaBackend", folder: "Sources/Backends/Kafka", ["CRdKafka", "Core"]),
    Row("NativeModelsBackend", folder: "Sources/Backends/NativeModels", ["Core"]),
    Row("Server", rooms.union(transports).union(["CZlib", "Yams"])),
    Row("martlet", transports.union(["ArgumentParser", "Core", "Server", "Wire"])),
    Row("TestKit", ["Core", "Testing"]),
  ]

  static func allows(_ module: String, in row: Row) -> Bool {
    anyone.contains(module) || row.may.contains(module)
      || row.may.contains { $0.hasSuffix("*") && module.hasPrefix($0.dropLast()) }
  }

  static func violations(in file: SourceFile) -> [Violation] {
    guard file.isIn("Sources"), file.path.hasSuffix(".swift") else { return [] }
    guard let row = file.target else {
      return [
        Violation(
          path: file.path, line: 1,
          message: "belongs to no row of the import table; give its target one in ImportTable")
      ]
    }
    return imports(in: file.code).filter { !allows($0.module, in: row) }.map {
      Violation(
        path: file.path, line: $0.line,
        message: "\(row.target) must not import \($0.module); it may import "
          + row.may.sorted().joined(separator: ", ") + " (take a port or a snapshot instead)")
    }
  }

  /// The modules that Swift code without comments imports, each with its line.
  static func imports(in code: [UInt8]) -> [(module: String, line: Int)] {
    SourceLines.split(code).enumerated().flatMap { index, line in
      line.split(separator: ";").compactMap { statement in
        importedModule(statement).map { (module: $0, line: index + 1) }
      }
    }
  }

  /// `@preconcurrency package import struct Core.Event` imports `Core`.
  static func importedModule(_ statement: Substring) -> String? {
    var words = statement.split { $0 == " " || $0 == "\t" }[...]
    let modifiers: Set<Substring> = ["fileprivate", "internal", "package", "private", "public"]
    while let first = words.first, first.hasPrefix("@") || modifiers.contains(first) {
      words.removeFirst()
    }
    guard words.popFirst() == "import", var name = words.popFirst() else { return nil }
    let kinds: Set<Substring> = [
      "actor", "class", "enum", "func", "let", "protocol", "struct", "typealias", "var",
    ]
    if kinds.contains(name), let next = words.popFirst() { name = next }
    return name.split(separator: ".").first.map(String.init)
  }
}
