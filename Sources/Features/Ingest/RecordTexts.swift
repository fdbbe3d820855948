import Core

/// Rows of a file as the JSON texts that pushes take, each with its event time.
package struct RecordTexts {
  package struct Text: Sendable {
    package var json: [UInt8]
    /// Microseconds.
    package var time: Int64
    /// The row's number in the file.
    package var number: Int64
  }

  package private(set) var records: [Text] = []
  /// Lines that are no records, and rows without a readable event time.
  package private(set) var unusable: Int

  package init(_ rows: RawRows, _ source: SourceDefinition) {
    unusable = rows.rejects.count
    var zone = source.zone.flatMap { ZoneOffsets.of($0)?.reader() }
    var lines: [String]?
    if let column = rows[RawRows.lineColumn], rows.columns.count == 1,
      case .string(let texts) = column.values
    {
      lines = texts
    }
    for row in 0..<rows.count {
      var text = lines?[row] ?? RecordText(source, rows, row).text
      let time = text.withUTF8 { bytes -> Int64? in
        guard let found = try? JSON(parsing: bytes), let time = found[source.eventTime]?.string
        else { return nil }
        var written = time
        return written.withUTF8 { try? instant($0, zone: &zone).get() }
      }
      guard let time else {
        unusable += 1
        continue
      }
      records.append(Text(json: Array(text.utf8), time: time, number: rows.rowNumbers[row]))
    }
  }
}
