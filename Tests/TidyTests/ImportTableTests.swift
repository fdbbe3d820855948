import Testing

@Suite struct ImportTableTests {
  private func messages(_ text: String, in path: String) -> [String] {
    ImportTable.violations(in: SourceFile(path: path, text: text)).map(\.description)
  }

  static let forbidden: [(path: String, line: String)] = [
    ("Sources/Core/A.swift", "import Workers"),
    ("Sources/Core/Types/A.swift", "import NIOCore"),
    ("Sources/Catalog/A.swift", "import Features"),
    ("Sources/Workers/A.swift", "import GRPCCore"),
    ("Sources/Features/A.swift", "import Catalog"),
    ("Sources/Features/A.swift", "import DuckDBBackend"),
    ("Sources/Features/A.swift", "import GRDB"),
    ("Sources/Serving/A.swift", "import Hummingbird"),
    ("Sources/Serving/A.swift", "import Monitoring"),
    ("Sources/Monitoring/A.swift", "import Jobs"),
    ("Sources/Jobs/A.swift", "import Catalog"),
    ("Sources/Jobs/A.swift", "import CDuckDB"),
    ("Sources/Backends/Embedded/A.swift", "import Workers"),
    ("Sources/Backends/DuckDB/A.swift", "import EmbeddedBackend"),
    ("Sources/Backends/Kafka/A.swift", "import CDuckDB"),
    ("Sources/Features/A.swift", "import KafkaBackend"),
    ("Sources/Server/A.swift", "import CRdKafka"),
    ("Sources/Server/A.swift", "import CDuckDB"),
    ("Sources/Server/A.swift", "import martlet"),
    ("Sources/martlet/A.swift", "import Catalog"),
    ("Sources/TestKit/A.swift", "import Server"),
    ("Sources/Core/A.swift", "import SomethingNobodyHasHeardOf"),
  ]

  @Test("an import that the table does not list is refused", arguments: forbidden)
  func refuses(path: String, line: String) throws {
    let message = try #require(messages("import Foundation\n\n\(line)\n", in: path).first)
    #expect(message.hasPrefix("\(path):3: "))
    #expect(message.contains("must not \(line);"))
  }

  static let allowed: [(path: String, line: String)] = [
    ("Sources/Core/A.swift", "import Foundation"),
    ("Sources/Catalog/A.swift", "import GRDB"),
    ("Sources/Jobs/A.swift", "import GRDB"),
    ("Sources/Workers/A.swift", "import NIOPosix"),
    ("Sources/Serving/A.swift", "import Features"),
    ("Sources/Backends/DuckDB/A.swift", "import CDuckDB"),
    ("Sources/Backends/Kafka/A.swift", "import CRdKafka"),
    ("Sources/Server/HTTP/A.swift", "import HummingbirdCore"),
    ("Sources/Server/GRPC/A.swift", "import GRPCNIOTransportHTTP2"),
    ("Sources/martlet/A.swift", "import Server"),
    ("Tests/RoomTests/A.swift", "import Catalog"),
    ("Sources/Features/A.swift", "// import Catalog"),
  ]

  @Test("an import that the table lists is let through", arguments: allowed)
  func allows(path: String, line: String) {
    #expect(messages(line, in: path) == [])
  }

  @Test("a file in a folder without a row is refused")
  func refusesUnknownTargets() {
    #expect(messages("", in: "Sources/Utilities/A.swift").count == 1)
    #expect(messages("", in: "Sources/Backends/Etcd/A.swift").count == 1)
    #expect(messages("", in: "Sources/CoreExtra/A.swift").count == 1)
  }

  static let statements: [(text: String, module: String?)] = [
    ("import Core", "Core"),
    ("  import Core", "Core"),
    ("@preconcurrency import Core", "Core"),
    ("package import Core", "Core"),
    ("@_exported public import struct Core.Event", "Core"),
    ("import func Glibc.exit", "Glibc"),
    ("let important = 1", nil),
    ("importer.run()", nil),
    ("", nil),
  ]

  @Test("every form of import is read", arguments: statements)
  func reads(text: String, module: String?) {
    #expect(ImportTable.importedModule(text[...]) == module)
  }

  @Test("two imports on one line are both read")
  func readsBothOfALine() {
    let modules = ImportTable.imports(in: Array("import Core; import GRDB".utf8)).map(\.module)
    #expect(modules == ["Core", "GRDB"])
  }
}
