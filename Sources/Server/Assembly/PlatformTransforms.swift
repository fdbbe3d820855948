import Core
import Features

extension PlatformServices {
  private static let trialRows = 100_000

  /// Runs a source's transform on the first records of a file, or on the newest stored events; stores nothing.
  func testTransform(
    source name: String, rows: Int, file: (path: String, name: String, format: String?)?
  ) async throws -> TransformTrial {
    let project = online.visible.current.project
    guard let source = project.source(name) else {
      throw PlatformError(
        .notFound,
        "there is no source '\(name)'\(suggestion(for: name, among: project.sources.map(\.name)))")
    }
    guard (1...Self.trialRows).contains(rows) else {
      throw PlatformError(
        .invalidArgument, "a trial takes 1 to \(Self.trialRows) rows, not \(rows)")
    }
    let sample =
      if let file {
        try await files.sample(
          path: file.path, name: file.name, source: source,
          format: file.format.flatMap { FileFormat(rawValue: $0) }, rows: rows)
      } else {
        try await ValidatedRows.stored(of: source, atMost: rows, in: warehouse)
      }
    return try await TransformTrial(
      sample, with: WorkerTransform(pool: workers, definitions: online.visible))
  }
}

extension TransformTrial {
  /// Bad records that an answer lists.
  private static let listed = 100

  var json: JSON {
    .object([
      "transform": .string(function.description),
      "digest": digest.map { .string($0) } ?? .null,
      "ok": .bool(isGood), "rows": .int(Int64(rows)),
      "failed": .int(Int64(failures.count)),
      "failures": .array(
        failures.prefix(Self.listed).map { failure in
          .object([
            "position": .string(failure.position), "error": .string(failure.error),
            "traceback": .string(failure.traceback), "record": .string(failure.record),
          ])
        }),
      "invalid": .int(Int64(invalid.count)),
      "invalid_records": .array(
        invalid.prefix(Self.listed).map {
          .object(["position": .string($0.position), "reason": .string($0.reason)])
        }),
      "columns": .array(
        columns.map { column in
          .object([
            "name": .string(column.name), "returned": .string(column.returned.rawValue),
            "declared": column.declared.map { .string($0.rawValue) } ?? .null,
            "problem": column.problem.map { .string($0) } ?? .null,
          ])
        }),
      "batches": .array(
        calls.map { call in
          .object([
            "rows": .int(Int64(call.rows)),
            "milliseconds": .double(Double(call.compute.microseconds) / 1_000),
          ])
        }),
      "before": Self.table(before), "after": Self.table(after),
    ])
  }

  private static func table(_ batch: ColumnBatch) -> JSON {
    .object([
      "columns": .array(batch.columns.map { .string($0.name) }),
      "rows": .array(
        (0..<batch.count).map { row in .array(batch.columns.map { JSON($0[row]) }) }),
    ])
  }
}
