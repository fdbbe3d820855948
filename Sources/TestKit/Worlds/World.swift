import Core

/// A small random world for property tests: definitions, what arrives when, what is asked when, and what goes wrong meanwhile.
///
/// A plain value, so that a world that fails can be made smaller piece by piece (`shrunk`). Times are microseconds and lie
/// close together, so that every boundary of a window, a ttl or a tile is met by chance.
package struct World: Sendable, Equatable {
  /// An event as its producer sent it.
  package struct Event: Sendable, Equatable {
    /// One that came before makes the event a repetition, whatever it says.
    package var id: Int
    package var time: Int64
    /// By column; nil is absent.
    package var cells: [String: Value?]

    package func cell(_ name: String) -> Value { (cells[name] ?? nil) ?? .null }
  }

  /// Events that are stored together.
  package struct Delivery: Sendable, Equatable {
    /// Later than that of the delivery before.
    package var created: Int64
    package var events: [Event]
  }

  /// A question: all features, at a time, for the entity keys of two columns; null parts and times are for history only.
  package struct Probe: Sendable, Equatable {
    package var time: Int64?
    package var number: Value
    package var name: Value
  }

  /// How the online stores get the deliveries.
  package enum Course: Sendable, Equatable {
    /// Those between two questions in another order, as from several processes.
    case shuffled(seed: UInt64)
    /// In order, each under its position in a stream, some of them again.
    case stream(repeating: Set<Int>)
  }

  /// An event that was stored: its order of arrival is its place among all that were.
  package struct Stored: Sendable {
    package var event: Event
    package var created: Int64
    package var sequence: Int64
  }

  package var hasAbsentCells: Bool
  package var views: [WorldView]
  package var deliveries: [Delivery]
  package var probes: [Probe]
  package var course: Course
  /// The memory store writes its snapshot after so many deliveries, and the process dies after so many.
  package var snapshotAfter: Int?
  package var restartAfter: Int?

  package static let source = SourceDefinition(
    name: "s", eventTime: "at",
    columns: [
      ColumnDefinition(name: "k", type: .int64), ColumnDefinition(name: "n", type: .string),
      ColumnDefinition(name: "x", type: .double), ColumnDefinition(name: "u", type: .double),
      ColumnDefinition(name: "y", type: .int64), ColumnDefinition(name: "text", type: .string),
      ColumnDefinition(name: "flag", type: .bool), ColumnDefinition(name: "when", type: .timestamp),
      ColumnDefinition(name: "pair", type: .array(of: .double, length: 2)),
      ColumnDefinition(name: "tags", type: .array(of: .string, length: nil)),
    ])

  /// By entity, its key columns; `everyone` has none.
  package static let keys: [String: [String]] = [
    "number": ["k"], "name": ["n"], "both": ["n", "k"], "everyone": [],
  ]

  /// The deliveries with what `isNew` says is stored of them; it is asked once for each event, in order.
  package func stored(isNew: (Int) -> Bool) -> [[Stored]] {
    var sequence: Int64 = 0
    return deliveries.map { delivery in
      delivery.events.filter { isNew($0.id) }.map { event in
        sequence += 1
        return Stored(event: event, created: delivery.created, sequence: sequence)
      }
    }
  }

  package func snapshot() throws -> Snapshot {
    Snapshot(
      version: 1, definitionsVersion: 1, definitionsDigest: "", projectDirectory: ".",
      project: ProjectDefinition(
        name: "p",
        entities: World.keys.map { EntityDefinition(name: $0, key: $1) }.sorted {
          $0.name < $1.name
        },
        sources: [World.source], views: try views.map { try $0.definition() }), models: [:])
  }

  package var features: [FeatureName] {
    views.flatMap { view in
      view.features.map { FeatureName(view: view.name, feature: $0.name) }
    }
  }

  /// The questions as a spine with another column, whose name is no feature's.
  package var spine: ColumnBatch {
    ColumnBatch(
      columns: [
        Column(name: "n", type: .string, probes.map(\.name)),
        Column(
          name: "t", type: .timestamp,
          probes.map { $0.time.map { .timestamp(Timestamp(microseconds: $0)) } ?? .null }),
        Column(name: "k", type: .int64, probes.map(\.number)),
        Column(name: "other", values: .int64(probes.indices.map { Int64($0) })),
      ], count: probes.count)
  }

  /// Events as a source's batch, absent cells marked.
  package static func batch(_ events: [Stored]) -> EventBatch {
    EventBatch(
      source: source.name,
      columns: source.columns.map { definition in
        var column = Column(name: definition.name, values: ColumnValues(empty: definition.type))
        for stored in events {
          let cell = stored.event.cells[definition.name] ?? nil
          column.append(cell ?? .null, absent: cell == nil)
        }
        return column
      }, eventTimestamps: events.map(\.event.time), createdAt: events.map(\.created),
      sequences: events.map(\.sequence), eventIDs: events.map { "\($0.event.id)" })
  }
}

extension World.Course: CustomStringConvertible {
  package var description: String {
    switch self {
    case .shuffled(let seed): "shuffled by \(seed)"
    case .stream(let again): "in order, deliveries \(again.sorted()) again"
    }
  }
}

extension World: CustomStringConvertible {
  /// Everything there is to know for playing it by hand.
  package var description: String {
    var lines = views.map(\.description)
    for (number, delivery) in deliveries.enumerated() {
      lines.append("delivery \(number) at \(delivery.created)")
      for event in delivery.events {
        let cells = World.source.columns.compactMap { column in
          (event.cells[column.name] ?? nil).map { "\(column.name): \($0)" }
        }
        lines.append("  event \(event.id) of \(event.time): \(cells.joined(separator: ", "))")
      }
    }
    for probe in probes {
      lines.append(
        "asked at \(probe.time.map(String.init) ?? "null") for k \(probe.number), n \(probe.name)")
    }
    switch course {
    case .shuffled: lines.append("course \(course)")
    case .stream(let repeated): lines.append("course stream, repeating \(repeated.sorted())")
    }
    if let restartAfter {
      lines.append(
        "restart after \(restartAfter), snapshot after \(snapshotAfter.map(String.init) ?? "none")")
    }
    return lines.joined(separator: "\n")
  }
}

extension EventBatch {
  /// As a warehouse gives the events back: some columns, and those of the platform.
  package func stored(_ names: [String]) -> ColumnBatch {
    ColumnBatch(
      columns: columns.filter { names.contains($0.name) } + [
        Column(name: "event_timestamp", values: .timestamp(eventTimestamps)),
        Column(name: "created_at", values: .timestamp(createdAt)),
        Column(name: "sequence", values: .int64(sequences)),
      ], count: count)
  }
}
