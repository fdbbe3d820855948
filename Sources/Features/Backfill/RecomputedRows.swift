import Core

/// What a recomputation makes of some stored events: rows of its table of staged cells.
struct RecomputedRows {
  /// Sequence and id of the events that stay as they are, and why.
  private(set) var failures: [(sequence: Int64, eventID: String, reason: String)] = []
  private(set) var batch: ColumnBatch

  /// - Parameters:
  ///   - raw: see `CellOrigins.raw`; of rows in `unknown` a made column may take the place of any cell.
  ///   - columns: those that are written.
  init(
    _ rows: StoredRows, raw: [Column], unknown: Set<Int>, made: TransformedRows,
    columns: [String], table: EventTable, by function: CodeReference
  ) {
    var faults = made.faults(over: raw, by: function)
    for row in unknown where made.faults[row] == nil { faults[row] = nil }
    let names = made.columns.map(\.name)
    let cells = columns.compactMap { name in
      made.columns.first { $0.name == name } ?? raw.first { $0.name == name }
    }
    var absences: [String?] = []
    var before: [String?] = []
    var written: [Int] = []
    for row in 0..<rows.count {
      if let reason = faults[row] {
        failures.append((rows.sequences[row], rows.eventIDs[row], reason))
        continue
      }
      // Columns count as old as the events from now on: that an event lacks one is said by its own bitmap.
      var bits = AbsenceBits(hexadecimal: rows.bitmaps[row])
      bits.lack(names, in: table, at: rows.sequences[row])
      before.append(bits.hexadecimal)
      for cell in cells {
        guard let place = table.columns.first(where: { $0.name == cell.name }) else { continue }
        bits.set(place.position, cell.presence(at: row) == .absent)
      }
      absences.append(bits.hexadecimal)
      written.append(row)
    }
    batch = Self.batch(
      written.map { rows.sequences[$0] }, kept: false, absences, before,
      cells.map { $0.gather(written) })
  }

  /// Events that stay as they are, in whose bitmaps columns are marked that they lack for being older.
  init(kept sequences: [Int64], bitmaps: [String], made names: [String], table: EventTable) {
    let bits = zip(sequences, bitmaps).map { sequence, bitmap in
      var bits = AbsenceBits(hexadecimal: bitmap)
      bits.lack(names, in: table, at: sequence)
      return bits.hexadecimal
    }
    batch = Self.batch(sequences, kept: true, bits, bits, [])
  }

  private static func batch(
    _ sequences: [Int64], kept: Bool, _ absences: [String?], _ before: [String?],
    _ cells: [Column]
  ) -> ColumnBatch {
    func texts(_ name: String, _ all: [String?]) -> Column {
      Column(name: name, type: .string, all.map { $0.map { .string($0) } ?? .null })
    }
    return ColumnBatch(
      columns: [
        Column(name: "sequence", values: .int64(sequences)),
        Column(name: "kept", values: .bool(sequences.map { _ in kept })), texts("absent", absences),
        texts("absent_before", before),
      ] + cells, count: sequences.count)
  }
}
