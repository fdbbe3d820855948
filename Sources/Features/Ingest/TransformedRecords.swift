import Core

extension ValidatedRows {
  /// The rows with a transform's columns in place; rows it raised for go to quarantine.
  func transformed(
    _ made: TransformedRows, by function: CodeReference
  ) throws(PlatformError) -> ValidatedRows {
    var rows = self
    for column in made.columns {
      guard let index = source.columns.firstIndex(where: { $0.name == column.name }) else {
        throw PlatformError(
          .userCode,
          "\(function) returned column '\(column.name)', which source '\(source.name)' does not "
            + "declare\(suggestion(for: column.name, among: source.columns.map(\.name)))"
        )
      }
      guard column.count == count, column.type == source.columns[index].type else {
        throw PlatformError(
          .userCode,
          "\(function) returned \(column.count) cells of \(column.type.rawValue) for column "
            + "'\(column.name)'; expected \(count) of \(source.columns[index].type.rawValue)"
        )
      }
      rows.columns[index] = column
    }
    guard !made.faults.isEmpty else { return rows }
    let good = rows.keeping((0..<count).filter { made.faults[$0] == nil })
    rows.columns = good.columns
    rows.eventTimestamps = good.eventTimestamps
    rows.eventIDs = good.eventIDs
    rows.places = good.places
    for (row, why) in made.faults.sorted(by: { $0.key < $1.key }) where row < count {
      rows.faults["\(function) failed", default: 0] += 1
      var record = Array("{".utf8)
      for column in columns where column.presence(at: row) != .absent {
        JSON.writeMember(column.name, column[row], into: &record)
      }
      record.append(UInt8(ascii: "}"))
      rows.quarantined.append(
        QuarantinedRecord(
          source: source.name, record: String(decoding: record, as: UTF8.self),
          reason: "\(function) failed: \(why)", position: position(of: row)))
    }
    return rows
  }
}
