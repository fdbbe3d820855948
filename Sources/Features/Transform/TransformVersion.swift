import Core

/// The code that made the transformed columns of events from one sequence on, a row of `transform_versions`.
package struct TransformVersion: Sendable, Hashable {
  var transform: String
  var digest: String
  /// The columns that it makes, sorted; nil where that was not noted.
  var columns: [String]?

  package init(transform: String, digest: String, columns: [String]? = nil) {
    self.transform = transform
    self.digest = digest
    self.columns = columns
  }

  /// Rows of the table: from `sequence` on events of `source` are of this version; nil of one is that of no transform.
  static func batch(
    _ versions: [(source: String, version: TransformVersion?, sequence: Int64)], at stamp: Int64
  ) -> ColumnBatch {
    ColumnBatch(columns: [
      Column(name: "source", values: .string(versions.map(\.source))),
      Column(
        name: "transform", type: .string,
        versions.map { $0.version.map { .string($0.transform) } ?? .null }),
      Column(
        name: "digest", type: .string,
        versions.map { $0.version.map { .string($0.digest) } ?? .null }),
      Column(
        name: "columns", type: .string,
        versions.map { one in
          one.version?.columns.map { .string(ColumnList.text($0)) } ?? .null
        }),
      Column(name: "first_sequence", values: .int64(versions.map(\.sequence))),
      Column(name: "created_at", values: .timestamp(versions.map { _ in stamp })),
    ])
  }

  static let table = "transform_versions"
}
