import Core

/// What a training set is made of, with the definitions looked up.
struct TrainingSetPlan: Sendable {
  /// What the spine's time is called; no column of a source may have this name.
  static let timeName = "event_timestamp"

  let model: ModelDefinition
  let spine: SpineDefinition
  let label: LabelDefinition
  let source: SourceDefinition
  let labelSource: SourceDefinition
  let asOf: Timestamp
  /// What the spine brings: keys, inputs, the join field, and the label's columns where it is in
  /// the same event.
  let spineFields: [String]

  init(_ model: ModelDefinition, asOf: Timestamp, snapshot: Snapshot) throws {
    guard let spine = model.spine, let label = model.label,
      let source = snapshot.project.source(spine.source),
      let labelSource = snapshot.project.source(label.source)
    else {
      throw PlatformError(
        .failedPrecondition,
        "model '\(model.name)' needs `spine` and `label` in martlet.yaml to be trained")
    }
    self.model = model
    self.spine = spine
    self.label = label
    self.source = source
    self.labelSource = labelSource
    self.asOf = asOf
    var fields = model.entities.flatMap { snapshot.project.entity($0)?.key ?? [] }
    fields += model.inputs.map(\.name)
    fields += label.join.map { [$0] } ?? label.value.names
    var seen: Set<String> = []
    spineFields = fields.filter { seen.insert($0).inserted }
    for field in spineFields where source.stored(field) == nil {
      throw PlatformError(
        .invalidDefinition,
        "model '\(model.name)' needs '\(field)' of its training rows, but its spine source '\(source.name)' does not have it\(suggestion(for: field, among: source.columns.map(\.name)))"
      )
    }
  }

  /// The range of the spine's times, both inside.
  var range: (first: Timestamp?, last: Timestamp) {
    (model.train?.data.map { asOf - $0 }, asOf - label.delay)
  }

  func spineQuery(
    within bound: StoredBound?, from table: String
  ) -> (sql: String, parameters: [Value]) {
    let time = quoted(source.stored(spine.time) ?? Self.timeName)
    let fields = spineFields.map { "\(quoted(source.stored($0) ?? $0)) AS \(quoted($0))" }
    var sql = """
      SELECT \((["\(time) AS \(Self.timeName)"] + fields).joined(separator: ", ")) \
      FROM \(table) WHERE \(time) <= ?
      """
    var parameters: [Value] = [.timestamp(range.last)]
    if let first = range.first {
      sql += " AND \(time) >= ?"
      parameters.append(.timestamp(first))
    }
    if label.join == nil {
      // The label is in the same event, which must have happened by then.
      sql += " AND event_timestamp <= ?"
      parameters.append(.timestamp(asOf))
    }
    if let condition = bound?.condition(on: source.name) {
      sql += condition.sql
      parameters += condition.parameters
    }
    return (sql + " ORDER BY \(time), sequence", parameters)
  }

  /// The features of views that the vector holds or that its derived ones read.
  var storedFeatures: [FeatureName] {
    var found: [FeatureName] = []
    for feature in model.features {
      let names: [FeatureName] =
        switch feature.origin {
        case .view(let name): [name]
        case .input: []
        case .derived(let expression): expression.names.compactMap { FeatureName($0) }
        }
      for name in names where !found.contains(name) { found.append(name) }
    }
    return found
  }

  /// Every source that is read, by name.
  func sources(_ snapshot: Snapshot) throws -> [String] {
    let read = try PointInTimeJoinPlan(storedFeatures, snapshot: snapshot).sources.map(\.name)
    return Set(read + [source.name, labelSource.name]).sorted()
  }

  /// The model's vector from what was joined to the spine; numbers and truth values as doubles.
  func vector(from joined: ColumnBatch) -> ColumnBatch {
    let inputs = model.inputs.compactMap { input in
      joined[input.name].map { input.type == .double ? $0.asNumbers : $0 }
    }
    func column(_ name: String) -> Column? { inputs.first { $0.name == name } ?? joined[name] }
    let columns = model.features.map { feature -> Column in
      let found: Column? =
        switch feature.origin {
        case .view(let name): joined[name.description]
        case .input: column(feature.name)
        case .derived(let expression): expression.evaluate(count: joined.count, column: column)
        }
      var one = found ?? Column(name: feature.name, nulls: joined.count, of: feature.type)
      one.name = feature.name
      return one.asNumbers
    }
    return ColumnBatch(columns: columns, count: joined.count)
  }

  func nothing(_ why: String) -> PlatformError {
    PlatformError(
      .failedPrecondition,
      "there is nothing to train '\(model.name)' on: \(why); ingest events and labels, or choose another time"
    )
  }
}

extension SourceDefinition {
  /// The column of the source's table that holds a field of its records; nil for an unknown field.
  func stored(_ field: String) -> String? {
    if column(field) != nil { return field }
    if field == eventTime { return "event_timestamp" }
    return field == eventID ? "event_id" : nil
  }
}

extension Column {
  /// Numbers and truth values as doubles; text, times and arrays as they are.
  fileprivate var asNumbers: Column {
    switch values {
    case .int64(let all):
      Column(name: name, values: .double(all.map { Double($0) }), presence: presence)
    case .bool(let all):
      Column(name: name, values: .double(all.map { $0 ? 1 : 0 }), presence: presence)
    // Elements become numbers where the vector is taken apart for the model.
    case .double, .string, .timestamp, .list: self
    }
  }
}
