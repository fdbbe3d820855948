import Core

/// The first half of an erasure: one warehouse transaction that removes the events and writes the tombstone.
struct ErasureTransaction: Sendable {
  let subject: ErasureSubject
  let layouts: [ViewLayout]
  let id: String
  let now: Timestamp
  let salt: String
  /// Other processes that do the same, led by this one.
  var asked: [SharedProcess] = []
  var isLedElsewhere = false

  private struct Table {
    var source: String
    /// The condition that a row is of the key.
    var condition: String
    var parameters: [Value]

    var name: String { EventTable.quoted(EventTable.name(for: source)) }
  }

  /// Runs on the writer's thread.
  func run(on appender: any WarehouseAppender) throws -> PendingErasure {
    let digests = KeyDigest(salt: salt)
    if try appender.query("SELECT salt FROM erasure_salt", []).count == 0 {
      try appender.execute("INSERT INTO erasure_salt VALUES (?)", [.string(salt)])
    }
    var receipt = ErasureReceipt(
      id: id, entity: subject.entity,
      digest: digests.digest(of: subject.key, columns: subject.columns), erasedAt: now)
    var online: [String: [EntityKey]] = [:]
    for layout in layouts where layout.keyColumns == subject.columns {
      online[layout.storageName] = [subject.key]
    }
    let (tables, sources) = try tables(appender)
    for table in tables {
      try noteAffected(table, &online, appender)
      try noteFutureEvents(table, digests, appender)
      try SourceMarks.note(table.source, on: appender)
      try Recomputations.forget(
        table.condition, table.parameters, of: table.source, on: appender)
      receipt.removed["events_\(table.source)"] = try appender.execute(
        "DELETE FROM \(table.name) WHERE \(table.condition)", table.parameters)
    }
    receipt.removed["quarantine"] = try eraseQuarantine(sources, appender)
    var pending = PendingErasure(receipt: receipt, subject: subject, online: online)
    pending.asked = asked
    pending.isLedElsewhere = isLedElsewhere
    try addFormer(&pending, appender)
    try appender.execute(
      "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, 'running', ?, ?)",
      [
        .string(id), .string(subject.entity),
        .string(JSON.array(subject.columns.map { .string($0) }).text), .string(receipt.digest),
        .int64(Int64(digests.filter(of: subject.key, columns: subject.columns))), .timestamp(now),
        .string(pending.json.text), .string(receipt.json.text),
      ])
    return pending
  }

  /// What the same erasure removed before a crash: a process that is asked does not know whether it has answered.
  private func addFormer(
    _ pending: inout PendingErasure, _ appender: any WarehouseAppender
  ) throws {
    let rows = try appender.query(
      "SELECT receipt, coalesce(pending, '{}') FROM erasures WHERE id = ?", [.string(id)])
    guard rows.count > 0, case .string(let receipt) = rows.columns[0][0],
      case .string(let text) = rows.columns[1][0]
    else { return }
    if let former = ErasureReceipt(json: try JSON(parsing: Array(receipt.utf8))) {
      pending.receipt.removed.merge(former.removed, uniquingKeysWith: +)
    }
    let json = try JSON(parsing: Array(text.utf8))
    pending.online.merge(keys: .init(keys: json["online"]))
    try appender.execute("DELETE FROM erasures WHERE id = ?", [.string(id)])
  }

  /// The event tables that have all the key columns, of sources in force and of former ones; and those whose columns are
  /// of types that the key can be.
  private func tables(_ appender: any WarehouseAppender) throws -> ([Table], [String]) {
    let rows = try appender.query("SELECT source, name, type FROM event_columns", [])
    var types: [String: [String: String]] = [:]
    for row in 0..<rows.count {
      guard case .string(let source) = rows.columns[0][row],
        case .string(let name) = rows.columns[1][row],
        case .string(let type) = rows.columns[2][row]
      else { continue }
      types[source, default: [:]][name] = type
    }
    var tables: [Table] = []
    var sources: [String] = []
    for (source, columns) in types.sorted(by: { $0.key < $1.key }) {
      guard subject.columns.allSatisfy({ columns[$0] != nil }) else { continue }
      sources.append(source)
      var parameters: [Value] = []
      for (name, part) in zip(subject.columns, subject.key.parts) {
        switch (part, columns[name]) {
        case (.int64, "int64"), (.string, "string"): parameters.append(part.value)
        case (.int64(let number), "string"): parameters.append(.string(String(number)))
        case (.string(let text), "int64"):
          if let number = Int64(text) { parameters.append(.int64(number)) }
        default: break
        }
      }
      guard parameters.count == subject.columns.count else { continue }
      let condition = subject.columns.map { "\(EventTable.quoted($0)) = ?" }
      tables.append(
        Table(
          source: source, condition: condition.joined(separator: " AND "), parameters: parameters))
    }
    return (tables, sources)
  }

  /// Every view of the table loses what the removed events added to it, whichever entity it is of.
  private func noteAffected(
    _ table: Table, _ online: inout [String: [EntityKey]], _ appender: any WarehouseAppender
  ) throws {
    for layout in layouts
    where layout.source == table.source && layout.keyColumns != subject.columns {
      let columns = layout.keyColumns.map(EventTable.quoted)
      if columns.isEmpty {
        // Every event is about its one key.
        online[layout.storageName] = [.composite([])]
        continue
      }
      let found = try appender.query(
        "SELECT DISTINCT \(columns.joined(separator: ", ")) FROM \(table.name) "
          + "WHERE \(table.condition)", table.parameters)
      let keys = EntityKey.keys(of: found.columns, count: found.count).compactMap { $0 }
      if !keys.isEmpty { online[layout.storageName, default: []] += keys }
    }
  }

  /// Events that are dated after the erase are known again by their ids alone.
  private func noteFutureEvents(
    _ table: Table, _ digests: KeyDigest, _ appender: any WarehouseAppender
  ) throws {
    let ids = try appender.query(
      "SELECT event_id FROM \(table.name) WHERE \(table.condition) AND event_timestamp > ?",
      table.parameters + [.timestamp(now)])
    guard ids.count > 0, case .string(let texts) = ids.columns[0].values else { return }
    let column = Column(
      name: "digest",
      values: .string(texts.map { digests.digest(ofEvent: $0, source: table.source) }))
    try appender.append(ColumnBatch(columns: [column]), to: "erased_events")
  }

  /// Records that name the key; of those that are no JSON, every one that has the key's parts as words.
  private func eraseQuarantine(
    _ sources: [String], _ appender: any WarehouseAppender
  ) throws -> Int {
    var removed = 0
    let named = subject.isNamed(in: "record")
    let words = subject.texts.map { _ in
      "regexp_matches(record, '(^|[^0-9A-Za-z_])' || regexp_escape(?) || '($|[^0-9A-Za-z_])')"
    }
    for source in sources {
      removed += try appender.execute(
        "DELETE FROM quarantine WHERE source = ? AND (\(named.sql) OR "
          + "(NOT json_valid(record) AND \(words.joined(separator: " AND "))))",
        [.string(source)] + named.parameters + subject.texts.map { .string($0) })
    }
    return removed
  }
}
