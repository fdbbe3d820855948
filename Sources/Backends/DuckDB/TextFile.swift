import Core
import Foundation

/// What CSV and JSONL files have in common.
enum TextFile {
  static let tooLong =
    "The line is longer than \(Limits.lineBytes >> 20) MB; a record must be shorter."
  static let notUTF8 = "The line is not valid UTF-8; convert the file."

  /// Refuses what is plainly something else, by the file's first bytes.
  static func check(_ head: UnsafeBufferPointer<UInt8>, _ request: FileRequest) throws {
    let name = request.displayName
    let format = request.format.rawValue.uppercased()
    func refuse(_ text: String) -> PlatformError { PlatformError(.invalidRecord, text) }
    if head.isEmpty {
      throw refuse("The file \(name) is empty; check that its writer finished.")
    }
    if head.starts(with: Array("PAR1".utf8)) {
      throw refuse(
        "The file \(name) is Parquet, not \(format); name it .parquet or say its format.")
    }
    if head.starts(with: [0x1F, 0x8B]) || head.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
      throw refuse("The file \(name) is compressed; unpack it first.")
    }
    if head.starts(with: [0xFF, 0xFE]) || head.starts(with: [0xFE, 0xFF]) {
      throw refuse("The file \(name) is UTF-16; convert it to UTF-8.")
    }
  }

  static func trimmed(_ text: String) -> String { text.trimmingCharacters(in: .whitespaces) }

  /// Hands over the lines of a file, each with its number; blank lines are counted and left out.
  static func readLines(
    _ request: FileRequest, _ body: (RawRows) throws -> Void
  ) throws
    -> FileSummary
  {
    var window = try FileWindow(path: request.path, name: request.displayName)
    try window.readMore()
    try check(window.bytes, request)
    if window.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { window.pass(3) }
    var rows = RowCollector(names: [RawRows.lineColumn])
    var summary = FileSummary()
    var number: Int64 = 0
    var searched = 0
    while true {
      let bytes = window.bytes
      let lineEnd = bytes[searched...].firstIndex(of: 10) ?? (window.atEnd ? bytes.count : nil)
      if let lineEnd, lineEnd <= Limits.lineBytes {
        if bytes.isEmpty { break }
        number += 1
        addLine(UnsafeBufferPointer(rebasing: bytes[..<lineEnd]), number, &rows)
        window.pass(min(lineEnd + 1, bytes.count))
        searched = 0
      } else if bytes.count > Limits.lineBytes {
        number += 1
        rows.reject(number, bytes, tooLong)
        try window.passLine()
        searched = 0
      } else {
        searched = bytes.count
        try window.readMore()
      }
      if rows.isFull { try rows.flush(&summary, progress: window.progress, body) }
    }
    try rows.flush(&summary, progress: 1, body)
    return summary
  }

  private static func addLine(
    _ line: UnsafeBufferPointer<UInt8>, _ number: Int64, _ rows: inout RowCollector
  ) {
    let line = line.last == 13 ? UnsafeBufferPointer(rebasing: line.dropLast()) : line
    if line.allSatisfy({ $0 == 32 || $0 == 9 }) { return }
    guard line.isUTF8 else { return rows.reject(number, line, notUTF8) }
    rows.numbers.append(number)
    rows.bytes += line.count
    rows.append(String(decoding: line, as: UTF8.self), to: 0)
  }
}

/// Which of the wanted columns a file has.
struct FileColumns {
  /// In the order of the request, with the column's position in the file.
  var present: [(name: String, position: Int)] = []
  var missing: [String] = []
  var ignored: [String] = []

  init(_ request: FileRequest, found: [String]) throws {
    var positions: [String: Int] = [:]
    for (position, name) in found.enumerated() {
      guard positions.updateValue(position, forKey: name) == nil else {
        throw PlatformError(
          .invalidRecord,
          "The file \(request.displayName) has two columns named '\(name)'; rename or remove one.")
      }
    }
    let columns = request.columns ?? found
    for name in columns {
      if let position = positions[name] {
        present.append((name, position))
      } else {
        missing.append(name)
      }
    }
    let wanted = Set(columns)
    ignored = found.filter { !wanted.contains($0) }
    let required = request.required.filter { positions[$0] == nil }
    if let first = required.first {
      throw PlatformError(
        .invalidRecord,
        "The file \(request.displayName) has no column \(required.map { "'\($0)'" }.joined(separator: ", "))"
          + suggestion(for: first, among: found))
    }
    if present.isEmpty {
      throw PlatformError(
        .invalidRecord,
        "The file \(request.displayName) has none of the source's columns"
          + suggestion(for: columns.first ?? "", among: found))
    }
  }
}

/// Text rows and rejects on their way into the next batch.
struct RowCollector {
  var numbers: [Int64] = []
  /// Bytes of the collected records.
  var bytes = 0
  private var cells: [[String]]
  private var presence: [[UInt8]]
  private var hasNull: [Bool]
  private var rejects: [RejectedLine] = []
  private let names: [String]

  private static let batchRows = 8_192
  private static let batchBytes = 8 << 20

  init(names: [String]) {
    self.names = names
    cells = names.map { _ in [String](reserving: Self.batchRows) }
    presence = names.map { _ in [UInt8](reserving: Self.batchRows) }
    hasNull = names.map { _ in false }
  }

  var isFull: Bool {
    numbers.count >= Self.batchRows || bytes >= Self.batchBytes || rejects.count >= 1_024
  }

  mutating func append(_ cell: String?, to column: Int) {
    cells[column].append(cell ?? "")
    presence[column].append((cell == nil ? Presence.null : .present).rawValue)
    if cell == nil { hasNull[column] = true }
  }

  mutating func reject(_ number: Int64, _ text: UnsafeBufferPointer<UInt8>, _ reason: String) {
    let line = text.last == 10 ? UnsafeBufferPointer(rebasing: text.dropLast()) : text
    let kept = line.quarantined
    rejects.append(
      RejectedLine(rowNumber: number, text: kept.text, raw: kept.raw, reason: reason))
  }

  mutating func flush(
    _ summary: inout FileSummary, progress: Double, _ body: (RawRows) throws -> Void
  ) throws {
    guard !numbers.isEmpty || !rejects.isEmpty else { return }
    summary.rows += Int64(numbers.count)
    summary.rejected += Int64(rejects.count)
    let columns = names.indices.map { index in
      Column(
        name: names[index], values: .string(cells[index]),
        presence: hasNull[index] ? presence[index] : nil)
    }
    try body(
      RawRows(columns: columns, rowNumbers: numbers, rejects: rejects, progress: progress))
    self = RowCollector(names: names)
  }
}
