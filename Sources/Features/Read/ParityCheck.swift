import Core

/// Feature values that were served, beside what the warehouse says they should have been: parity, measured.
///
/// Each served vector is recomputed `as_known` at the instant it was served (semantics §3 and §8), by the historical read that
/// training uses. What differs is a defect of the platform or of its data, never of the model.
package struct ParityCheck: Sendable {
  /// A value that a model derived itself from features of its vector and inputs of the request.
  package struct ServedDerived: Sendable {
    /// The view part is `models.MODEL`, which no view is called.
    package var name: FeatureName
    package var expression: Expression
    package var type: ColumnType
    package var value: FeatureValue
    /// The operands that a request brought, in their types, as they were logged; the others are features of the vector.
    package var inputs: [String: (value: Value, type: ColumnType)]

    package init(
      name: FeatureName, expression: Expression, type: ColumnType, value: FeatureValue,
      inputs: [String: (value: Value, type: ColumnType)]
    ) {
      self.name = name
      self.expression = expression
      self.type = type
      self.value = value
      self.inputs = inputs
    }
  }

  /// A vector as it was served: features that views hold, and what its model derived from them.
  package struct Served: Sendable {
    /// A request's id, or the name of a probe.
    package var id: String
    /// The key columns, by name.
    package var keys: RequestRow
    package var time: Timestamp
    package var values: [FeatureName: FeatureValue]
    package var derived: [ServedDerived]

    package init(
      id: String, keys: RequestRow, time: Timestamp, values: [FeatureName: FeatureValue],
      derived: [ServedDerived] = []
    ) {
      self.id = id
      self.keys = keys
      self.time = time
      self.values = values
      self.derived = derived
    }
  }

  /// Why a value differs, as far as the events tell.
  package enum Cause: String, Sendable, CaseIterable {
    /// The warehouse has events of the key, the online store had none of them.
    case missingOnline = "missing_online"
    /// The online store had something of a key of which the warehouse knows nothing.
    case missingInWarehouse = "missing_in_warehouse"
    /// What was right before the key's newest events: they did not reach the online store.
    case staleOnline = "stale_online"
    /// One side says that the value has expired, the other that it has not.
    case expiredDiffers = "expired_differs"
    /// A value on one side, an observed null on the other.
    case nullDiffers = "null_differs"
    case valueDiffers = "value_differs"
    /// What was right before events that came less than `inFlight` before the read: they were on their way. Does not count.
    case inFlight = "in_flight"
    /// It was made of events that retention has dropped since. Does not count.
    case pastRetention = "past_retention"

    var counts: Bool { self != .inFlight && self != .pastRetention }
  }

  package struct Mismatch: Sendable {
    package var id: String
    package var feature: FeatureName
    package var time: Timestamp
    package var served: FeatureValue
    package var recomputed: FeatureValue
    package var cause: Cause
  }

  package struct Report: Sendable {
    package var vectors = 0
    /// By feature, how many values were compared.
    package var compared: [FeatureName: Int] = [:]
    package var mismatches: [Mismatch] = []

    package init() {}

    package var comparedValues: Int { compared.values.reduce(0, +) }

    /// Those that count: without what was in flight, or is past retention.
    package var wrong: [Mismatch] { mismatches.filter(\.cause.counts) }

    package func count(_ cause: Cause) -> Int { mismatches.count { $0.cause == cause } }

    /// The share of compared values that differ.
    package var mismatchShare: Double {
      comparedValues == 0 ? 0 : Double(wrong.count) / Double(comparedValues)
    }

    package mutating func add(_ other: Report) {
      vectors += other.vectors
      compared.merge(other.compared, uniquingKeysWith: +)
      mismatches += other.mismatches
    }
  }

  /// An event is dated when its commit begins and readable when that has ended.
  package static let inFlight = Span.seconds(10)
  private static let timeColumn = "served at"

  private let warehouse: any Warehouse

  private let clock: any WallClock

  package init(warehouse: any Warehouse, clock: any WallClock) {
    self.warehouse = warehouse
    self.clock = clock
  }

  /// Recomputes the vectors under the definitions of `snapshot`, which must be those that they were served by.
  package func run(_ served: [Served], snapshot: Snapshot) async throws -> Report {
    var report = Report()
    report.vectors = served.count
    let features = Set(served.flatMap(\.values.keys)).sorted { $0.description < $1.description }
    let set = try await recomputed(features, served, snapshot)
    var differing: [Int: [Mismatch]] = [:]
    for feature in features {
      guard let column = set?.columns[feature.description] else { continue }
      let statuses = set?.statuses?[feature] ?? []
      for (row, vector) in served.enumerated() {
        guard let value = vector.values[feature] else { continue }
        report.compared[feature, default: 0] += 1
        // The status of a derived value follows from its operands', which are compared themselves.
        let recomputed = FeatureValue(
          value: column[row], status: statuses.isEmpty ? value.status : statuses[row])
        if ParityCheck.agrees(value, recomputed) { continue }
        differing[row, default: []].append(
          Mismatch(
            id: vector.id, feature: feature, time: vector.time, served: value,
            recomputed: recomputed, cause: ParityCheck.plainCause(value, recomputed)))
      }
    }
    let causes = ParityCauses(warehouse: warehouse, snapshot: snapshot)
    let retention = ParityRetention(snapshot: snapshot, now: clock.now)
    for (number, row) in differing.keys.sorted().enumerated() {
      var mismatches = differing[row] ?? []
      for index in mismatches.indices where try retention.explains(mismatches[index]) {
        mismatches[index].cause = .pastRetention
      }
      if number < ParityCauses.maximumVectors, mismatches.contains(where: \.cause.counts) {
        try await causes.explain(&mismatches, of: served[row])
      }
      report.mismatches += mismatches
      differing[row] = mismatches
    }
    ParityOfModels(served: served, recomputed: set, differing: differing).check(into: &report)
    return report
  }

  /// Nil where there is nothing to recompute from events.
  private func recomputed(
    _ features: [FeatureName], _ served: [Served], _ snapshot: Snapshot
  ) async throws -> TrainingSet? {
    if features.isEmpty { return nil }
    return try await PointInTimeJoin.run(
      spine: ParityCheck.spine(served, features, snapshot), time: Self.timeColumn,
      features: features, mode: .asKnown, snapshot: snapshot, warehouse: warehouse,
      withStatuses: true)
  }

  /// What a row must name to read a feature, with all that it is derived from.
  package static func keyColumns(
    of feature: FeatureName, _ snapshot: Snapshot
  ) throws -> Set<String> {
    Set(try PointInTimeJoinPlan([feature], snapshot: snapshot).views.flatMap(\.layout.keyColumns))
  }

  /// Key columns in the types of their sources; null where a vector does not name one.
  private static func spine(
    _ served: [Served], _ features: [FeatureName], _ snapshot: Snapshot
  ) throws -> ColumnBatch {
    var types: [String: ColumnType] = [:]
    for view in try PointInTimeJoinPlan(features, snapshot: snapshot).views {
      for (name, type) in zip(view.layout.keyColumns, view.layout.keyTypes) { types[name] = type }
    }
    let keys = types.sorted { $0.key < $1.key }.map { name, type in
      Column(
        name: name, type: type, served.map { ($0.keys[name] ?? .null).asKey(of: type) })
    }
    let times = Column(name: timeColumn, values: .timestamp(served.map(\.time.microseconds)))
    return ColumnBatch(columns: keys + [times], count: served.count)
  }

  /// Whether both say the same: doubles to 1e-9 relative, everything else exactly.
  package static func agrees(_ a: FeatureValue, _ b: FeatureValue) -> Bool {
    a.status == b.status && agrees(a.value, b.value)
  }

  private static func agrees(_ a: Value, _ b: Value) -> Bool {
    switch (a, b) {
    case (.double(let a), .double(let b)): isNear(a, b)
    case (.list(.double(let a)), .list(.double(let b))):
      a.count == b.count && zip(a, b).allSatisfy { isNear($0, $1) }
    default: a == b
    }
  }

  private static func isNear(_ a: Double, _ b: Double) -> Bool {
    if a == b || (a.isNaN && b.isNaN) { return true }
    return a.isFinite && b.isFinite && abs(a - b) <= 1e-9 * max(abs(a), abs(b))
  }

  /// What the two sides alone tell.
  package static func plainCause(_ served: FeatureValue, _ recomputed: FeatureValue) -> Cause {
    switch (served.status, recomputed.status) {
    case (.notFound, let other) where other != .notFound: .missingOnline
    case (let other, .notFound) where other != .notFound: .missingInWarehouse
    case (.expired, let other) where other != .expired: .expiredDiffers
    case (let other, .expired) where other != .expired: .expiredDiffers
    default: served.value.isNull != recomputed.value.isNull ? .nullDiffers : .valueDiffers
    }
  }
}

extension Value {
  /// A key part in its column's type; null where it cannot be one.
  func asKey(of type: ColumnType) -> Value {
    switch (self, type) {
    case (.int64, .int64), (.string, .string): self
    case (.double(let number), .int64): Int64(exactly: number).map { .int64($0) } ?? .null
    default: .null
    }
  }
}
