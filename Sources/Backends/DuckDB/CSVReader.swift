import Core

/// Reads comma-separated text record by record.
///
/// Written here rather than left to DuckDB's `read_csv`, which gives good rows no number, reports bad lines only after the last row,
/// and cannot tell an empty field from an empty quoted string. Dialect: a header; `,`, `;`, tab or `|`; RFC 4180 quotes; LF or CRLF; UTF-8.
struct CSVReader {
  private struct Field {
    var range: Range<Int>
    var isQuoted = false
    var hasDoubledQuotes = false
  }

  private enum Parsed {
    case record(next: Int)
    case broken(next: Int, reason: String)
    case openQuote
    case incomplete
  }

  private let request: FileRequest
  private var delimiter = UInt8(ascii: ",")
  private var fields: [Field] = []

  init(_ request: FileRequest) { self.request = request }

  mutating func read(_ body: (RawRows) throws -> Void) throws -> FileSummary {
    var window = try FileWindow(path: request.path, name: request.displayName)
    try window.readMore()
    try TextFile.check(window.bytes, request)
    if window.bytes.starts(with: [0xEF, 0xBB, 0xBF]) { window.pass(3) }
    let header = try readHeader(&window)
    let columns = try FileColumns(request, found: header)
    var rows = RowCollector(names: columns.present.map(\.name))
    var summary = FileSummary(
      missingColumns: columns.missing, ignoredColumns: columns.ignored)
    var number: Int64 = 0
    while true {
      switch parse(window.bytes, atEnd: window.atEnd) {
      case .record(let next):
        add(window.bytes, next, columns, header.count, &number, &rows)
        window.pass(next)
      case .broken(let next, let reason):
        number += 1
        rows.reject(number, UnsafeBufferPointer(rebasing: window.bytes[..<next]), reason)
        window.pass(next)
      case .openQuote where window.bytes.count > Limits.lineBytes || window.atEnd:
        number += 1
        let line = window.bytes.firstIndex(of: 10) ?? window.bytes.count
        rows.reject(
          number, UnsafeBufferPointer(rebasing: window.bytes[..<line]),
          window.atEnd ? "A quote is not closed." : TextFile.tooLong)
        try window.passLine()
      case .incomplete where window.bytes.count > Limits.lineBytes:
        number += 1
        rows.reject(number, window.bytes, TextFile.tooLong)
        try window.passLine()
      case .incomplete where window.atEnd:
        try rows.flush(&summary, progress: 1, body)
        return summary
      case .openQuote, .incomplete:
        try window.readMore()
      }
      if rows.isFull { try rows.flush(&summary, progress: window.progress, body) }
    }
  }

  private mutating func readHeader(_ window: inout FileWindow) throws -> [String] {
    while !window.atEnd, !window.bytes.contains(10), window.bytes.count <= Limits.lineBytes {
      try window.readMore()
    }
    let line = window.bytes.firstIndex(of: 10) ?? window.bytes.count
    guard line <= Limits.lineBytes, window.bytes.isUTF8(upTo: line) else {
      throw PlatformError(
        .invalidRecord,
        "The first line of \(request.displayName) is no CSV header in UTF-8; write the column names into it."
      )
    }
    let candidates = Array(",;\t|".utf8)
    let names = candidates.map { candidate in
      delimiter = candidate
      return (candidate, header(window.bytes))
    }
    let wanted = Set(request.columns ?? [])
    let best = names.enumerated().max { a, b in
      let left = (a.1.1.filter(wanted.contains).count, a.1.1.count, -a.0)
      return left < (b.1.1.filter(wanted.contains).count, b.1.1.count, -b.0)
    }
    delimiter = best?.element.0 ?? UInt8(ascii: ",")
    window.pass(min(line + 1, window.bytes.count))
    return best?.element.1 ?? []
  }

  private mutating func header(_ bytes: UnsafeBufferPointer<UInt8>) -> [String] {
    guard case .record = parse(bytes, atEnd: true) else { return [] }
    return fields.map { TextFile.trimmed(text(of: $0, in: bytes)) }
  }

  private mutating func add(
    _ bytes: UnsafeBufferPointer<UInt8>, _ next: Int, _ columns: FileColumns, _ expected: Int,
    _ number: inout Int64, _ rows: inout RowCollector
  ) {
    if fields.count == 1, fields[0].range.isEmpty, !fields[0].isQuoted, expected > 1 { return }
    number += 1
    let record = UnsafeBufferPointer(rebasing: bytes[..<next])
    guard next <= Limits.lineBytes + 1 else { return rows.reject(number, record, TextFile.tooLong) }
    guard fields.count == expected else {
      return rows.reject(
        number, record,
        "The line has \(fields.count) field\(fields.count == 1 ? "" : "s"), the header has \(expected)."
      )
    }
    guard record.isUTF8 else { return rows.reject(number, record, TextFile.notUTF8) }
    rows.numbers.append(number)
    rows.bytes += next
    for (target, column) in columns.present.enumerated() {
      let field = fields[column.position]
      let isNull = field.range.isEmpty && !field.isQuoted
      rows.append(isNull ? nil : text(of: field, in: bytes), to: target)
    }
  }

  private func text(of field: Field, in bytes: UnsafeBufferPointer<UInt8>) -> String {
    let raw = UnsafeBufferPointer(rebasing: bytes[field.range])
    guard field.hasDoubledQuotes else { return String(decoding: raw, as: UTF8.self) }
    // By bytes: a quote that a combining mark follows is another character to Swift.
    var content: [UInt8] = []
    content.reserveCapacity(raw.count)
    var position = 0
    while position < raw.count {
      content.append(raw[position])
      position += raw[position] == UInt8(ascii: "\"") ? 2 : 1
    }
    return String(decoding: content, as: UTF8.self)
  }

  /// Splits the record at the beginning of `bytes` into `fields`.
  private mutating func parse(_ bytes: UnsafeBufferPointer<UInt8>, atEnd: Bool) -> Parsed {
    fields.removeAll(keepingCapacity: true)
    let count = bytes.count
    guard count > 0 else { return .incomplete }
    let delimiter = delimiter
    var position = 0
    while true {
      if position < count, bytes[position] == UInt8(ascii: "\"") {
        guard let after = parseQuoted(bytes, &position) else {
          return .openQuote
        }
        if position == count {
          return atEnd ? .record(next: count) : .incomplete
        }
        if after == delimiter {
          position += 1
          continue
        }
        if after == 10 { return .record(next: position + 1) }
        let end = bytes[position...].firstIndex(of: 10)
        guard let end = end.map({ $0 + 1 }) ?? (atEnd ? count : nil) else { return .incomplete }
        return .broken(next: end, reason: "Text follows a closing quote.")
      }
      let start = position
      while position < count, bytes[position] != delimiter, bytes[position] != 10 { position += 1 }
      if position == count, !atEnd { return .incomplete }
      let isLast = position == count || bytes[position] == 10
      var end = position
      if isLast, end > start, bytes[end - 1] == 13 { end -= 1 }
      fields.append(Field(range: start..<end))
      if isLast { return .record(next: min(position + 1, count)) }
      position += 1
    }
  }

  /// Reads a quoted field; `position` ends up behind it, after a carriage return that a line feed follows.
  ///
  /// - Returns: the byte there (0 at the end of `bytes`), nil where the closing quote is not in view.
  private mutating func parseQuoted(
    _ bytes: UnsafeBufferPointer<UInt8>, _ position: inout Int
  )
    -> UInt8?
  {
    let quote = UInt8(ascii: "\"")
    let start = position + 1
    var field = Field(range: start..<start, isQuoted: true)
    var cursor = start
    while cursor < bytes.count {
      guard bytes[cursor] == quote else {
        cursor += 1
        continue
      }
      if cursor + 1 < bytes.count, bytes[cursor + 1] == quote {
        field.hasDoubledQuotes = true
        cursor += 2
        continue
      }
      field.range = start..<cursor
      fields.append(field)
      cursor += 1
      if cursor < bytes.count, bytes[cursor] == 13,
        cursor + 1 == bytes.count || bytes[cursor + 1] == 10
      {
        cursor += 1
      }
      position = cursor
      return cursor < bytes.count ? bytes[cursor] : 0
    }
    return nil
  }
}

extension UnsafeBufferPointer<UInt8> {
  fileprivate func isUTF8(upTo end: Int) -> Bool {
    UnsafeBufferPointer(rebasing: self[..<end]).isUTF8
  }
}
