/// How the records of a file are written.
package enum FileFormat: String, Sendable, Codable, CaseIterable {
  case csv, parquet, jsonl

  /// The format that the end of a file's name stands for, nil where it tells none.
  package init?(path: String) {
    let name = path.lowercased()
    if name.hasSuffix(".csv") || name.hasSuffix(".tsv") {
      self = .csv
    } else if name.hasSuffix(".parquet") || name.hasSuffix(".pq") {
      self = .parquet
    } else if name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson") {
      self = .jsonl
    } else {
      return nil
    }
  }
}

/// A line that could not be read as a record, with why.
package struct RejectedLine: Sendable, Equatable {
  /// Counts like `RawRows.rowNumbers`.
  package var rowNumber: Int64
  /// The line as it is in the file, cut to `Limits.lineBytes`; bytes that are not UTF-8 are replaced.
  package var text: String
  /// The line's bytes, where `text` is not the same.
  package var raw: [UInt8]?
  package var reason: String

  package init(rowNumber: Int64, text: String, raw: [UInt8]? = nil, reason: String) {
    self.rowNumber = rowNumber
    self.text = text
    self.raw = raw
    self.reason = reason
  }
}

/// Some thousand records of a file, as the file has them: neither validated nor converted.
///
/// - CSV: every column is `.string`; an empty field that is not quoted is null.
/// - Parquet: columns have the file's own types, brought to the column types; lists are arrays without a length. Nothing is cast.
/// - JSONL: one `.string` column named `RawRows.lineColumn` holds each line's text, which the ingest room parses, since only it
///   can tell an absent member from an explicit null.
package struct RawRows: Sendable {
  /// The name of the only column of a JSONL batch.
  package static let lineColumn = "line"

  /// Those of the wanted columns that the file has, in the order they were asked for.
  package var columns: [Column]
  /// One per row, increasing: the record's number in the file. The first record after a CSV header is 1; the first line of a
  /// JSONL file is 1 (blank lines count). Rejected lines count too, so numbers may have gaps.
  package var rowNumbers: [Int64]
  /// Lines that were read among these rows, or since the batch before, and are no records.
  package var rejects: [RejectedLine]
  /// Columns of times, or of lists of times, without a zone (Parquet's local TIMESTAMP and DATE): their cells are clock readings counted as if they were UTC, to
  /// be converted by the source's zone, or refused where it has none.
  package var localTimes: Set<String>
  /// By column and row, the JSON text of lists that have a null element: no array can hold them, so the cell itself is null.
  package var brokenLists: [String: [Int: String]]
  /// The part of the file that has been read, from 0 to 1.
  package var progress: Double

  package init(
    columns: [Column], rowNumbers: [Int64], rejects: [RejectedLine] = [],
    localTimes: Set<String> = [], brokenLists: [String: [Int: String]] = [:], progress: Double = 1
  ) {
    self.columns = columns
    self.rowNumbers = rowNumbers
    self.rejects = rejects
    self.localTimes = localTimes
    self.brokenLists = brokenLists
    self.progress = progress
  }

  package var count: Int { rowNumbers.count }

  package subscript(name: String) -> Column? { columns.first { $0.name == name } }
}

/// What a whole file turned out to have.
package struct FileSummary: Sendable, Equatable {
  package var rows: Int64
  package var rejected: Int64
  /// Wanted columns that the file has not; always empty for JSONL.
  package var missingColumns: [String]
  /// Columns of the file that were not wanted; always empty for JSONL.
  package var ignoredColumns: [String]

  package init(
    rows: Int64 = 0, rejected: Int64 = 0, missingColumns: [String] = [],
    ignoredColumns: [String] = []
  ) {
    self.rows = rows
    self.rejected = rejected
    self.missingColumns = missingColumns
    self.ignoredColumns = ignoredColumns
  }
}

/// What to take from a file.
package struct FileRequest: Sendable {
  package var path: String
  package var format: FileFormat
  /// Names of the columns to deliver where the file has them; nil delivers every column of a CSV file.
  package var columns: [String]?
  /// Columns of `columns` without which the file is refused before its first row (the event time, say).
  package var required: [String]
  /// The name that error messages give the file; its path unless said otherwise (an upload has the client's name).
  package var displayName: String

  package init(
    path: String, format: FileFormat, columns: [String]?, required: [String] = [],
    displayName: String? = nil
  ) {
    self.path = path
    self.format = format
    self.columns = columns
    self.required = required
    self.displayName = displayName ?? path
  }
}

/// Reads record files in batches, with bounded memory whatever the file holds.
///
/// Guarantees: rows come in the order of the file, each once, under the same numbers at every reading of the same bytes; a line
/// longer than `Limits.lineBytes`, a ragged line or one that is not UTF-8 becomes a reject and the rest goes on. A file that
/// cannot be read at all throws `PlatformError`: `.notFound`, `.invalidRecord` (empty, truncated or not of its format; a
/// required column is missing; a column of a type that no column type stands for), with the file's name and what to do.
package protocol FileReader: Sendable {
  /// Reads the file on a thread of its own; `body` runs there, and a throw ends the reading and is rethrown.
  ///
  /// Cancelling the task ends the reading with `CancellationError`.
  @discardableResult
  func read(
    _ request: FileRequest, _ body: @escaping @Sendable (RawRows) throws -> Void
  ) async throws -> FileSummary
  /// Reads the file on the calling thread, which must be one that may block (inside `Warehouse.transaction`, say).
  @discardableResult
  func scan(_ request: FileRequest, _ body: (RawRows) throws -> Void) throws -> FileSummary
}
