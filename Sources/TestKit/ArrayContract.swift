import Core

extension ContractView {
  /// A view of the latest arrays of every element type, of one length and of any.
  package static func arrays() -> ViewLayout {
    let columns = ScalarType.allCases.flatMap { type in
      [
        ColumnDefinition(name: "\(type.rawValue)_3", type: .array(of: type, length: 3)),
        ColumnDefinition(name: "\(type.rawValue)_any", type: .array(of: type, length: nil)),
      ]
    }
    return ViewLayout(
      view: ViewDefinition(
        name: "arrays_\(UInt64.random(in: 0..<(.max)))", entity: "device", source: "readings",
        features: columns.map {
          FeatureDefinition(name: $0.name, kind: .latest(column: $0.name, ttl: nil), type: $0.type)
        }),
      entity: EntityDefinition(name: "device", key: ["device"]),
      source: SourceDefinition(
        name: "readings", eventTime: "at",
        columns: [ColumnDefinition(name: "device", type: .string)] + columns))
  }

  /// Keys `now` and `later`, the second an hour after `base`; arrays of any length are empty, or null in `later`.
  package static func arrayWrite(to layout: ViewLayout) -> OnlineWrite {
    OnlineWrite(
      view: layout.view, keys: [.string("now"), .string("later")],
      eventTimestamps: [base, base + 60 * minute], createdAt: [base, base], sequences: [1, 2],
      latest: layout.latestColumns.map { column in
        let isFixed = column.name.hasSuffix("_3")
        let cells: [Value] =
          isFixed
          ? [.list(elements(column.type.scalar, 1)), .list(elements(column.type.scalar, 2))]
          : [.list(ColumnValues(empty: ColumnType(column.type.scalar))), .null]
        return Column(name: column.name, type: column.type, cells)
      }, slots: [])
  }

  private static func elements(_ type: ScalarType, _ seed: Int) -> ColumnValues {
    switch type {
    case .bool: .bool([true, false, seed == 2])
    case .int64: .int64([.min, 0, Int64(seed)])
    case .double: .double([-0.0, .infinity, Double(seed) + 0.1])
    case .string: .string(["", "Zürich | \\ \"", "\(seed)"])
    case .timestamp: .timestamp([-1, 0, base + Int64(seed)])
    }
  }
}

extension OnlineStoreContract {
  @Sendable static func arrays(_ store: any OnlineStore) async throws {
    let layout = ContractView.arrays()
    _ = try await store.prepare(layout)
    let write = ContractView.arrayWrite(to: layout)
    try await store.apply([write], now: Timestamp(microseconds: ContractView.base))
    let states = try await store.read(view: layout.view, keys: write.keys)
    for (column, expected) in write.latest.enumerated() {
      let name = expected.name
      let now = states[0]?.latest(column, at: ContractView.base)?.value
      try require(now == expected[0], "\(name) is \(String(describing: now)), not \(expected[0])")
      let early = states[1]?.latest(column, at: ContractView.base)
      try require(early == nil, "\(name) of the future was read: \(String(describing: early))")
      let later = states[1]?.latest(column, at: ContractView.base + 60 * ContractView.minute)?.value
      try require(
        later == expected[1], "\(name) is \(String(describing: later)), not \(expected[1])")
    }
  }
}
