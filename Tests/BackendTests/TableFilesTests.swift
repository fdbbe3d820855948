import Core
import DuckDBBackend
import Foundation
import Testing

@Suite struct TableFilesTests {
  private static let scratch = Result { try ScratchDirectory() }

  /// More rows than several row groups have, of values that repeat and of values that do not.
  private static func table(_ count: Int) -> ColumnBatch {
    ColumnBatch(columns: [
      Column(name: "n", values: .int64((0..<count).map { Int64($0) })),
      Column(name: "x", values: .double((0..<count).map { Double($0 % 1_013) / 7 })),
      Column(name: "text", values: .string((0..<count).map { "key \($0 % 17)" })),
      Column(
        name: "at", values: .timestamp((0..<count).map { Int64($0) * 1_000_003 }),
        presence: (0..<count).map { $0 % 5 == 0 ? Presence.null.rawValue : 0 }),
    ])
  }

  @Test func `the same table gives the same Parquet file byte for byte`() async throws {
    let folder = try Self.scratch.get()
    let batch = Self.table(400_000)
    var files: Set<Data> = []
    for number in 0..<3 {
      let path = folder.file("\(number).parquet")
      try await DuckDBTableFiles().write(batch, to: path, format: .parquet)
      files.insert(try Data(contentsOf: URL(fileURLWithPath: path)))
    }
    #expect(files.count == 1)
    #expect((files.first?.count ?? 0) > 100_000)
  }
}
