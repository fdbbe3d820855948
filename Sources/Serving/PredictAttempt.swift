import Core
import Features

/// One request of a model that there is: what all of its parts share.
struct PredictCall: Sendable {
  let requestID: String
  let model: ModelDefinition
  let snapshot: Snapshot
  /// Nil where nothing is wanted of the model yet.
  let routes: RouteTable?
  /// The version that the caller named.
  let number: Int64?
  let rows: [RequestRow]
  /// In place of rows to hydrate.
  let vectors: ColumnBatch?
  let wantsExplanation: Bool
  let start: Span
  let allowed: Span

  var deadline: Span { Span(microseconds: start.microseconds + allowed.microseconds) }

  /// The answers of the parts, in the order of the rows.
  func answer(_ parts: [AnsweredPart]) -> PredictAnswer {
    var latency = parts[0].latency
    var predictions = parts[0].predictions
    if parts.count > 1 {
      let placed = parts.flatMap { part in zip(part.places, part.predictions).map { ($0, $1) } }
      predictions = placed.sorted { $0.0 < $1.0 }.map(\.1)
      for part in parts.dropFirst() { latency.takeMaximum(part.latency) }
    }
    return PredictAnswer(
      requestID: requestID, model: model.name, predictions: predictions, latency: latency,
      version: predictions[0].version, stage: predictions[0].stage,
      featureNames: predictions[0].featureNames)
  }
}

/// Rows of one request that one version answered.
struct AnsweredPart: Sendable {
  /// Their numbers among the rows of the request.
  var places: [Int]
  var predictions: [Prediction]
  var latency: PredictLatency
}

extension PredictLatency {
  fileprivate mutating func takeMaximum(_ other: PredictLatency) {
    hydrate = max(hydrate, other.hydrate)
    queue = max(queue, other.queue)
    compute = max(compute, other.compute)
    total = max(total, other.total)
  }
}

/// One try of rows of one request with one version: what is known so far.
struct PredictAttempt: Sendable {
  let call: PredictCall
  /// Nil where there is nothing to choose.
  let choice: RouteTable.Choice?
  private(set) var rows: [RequestRow]
  /// Their numbers among the rows of the request.
  private(set) var places: [Int]
  private(set) var route: Route
  /// The version in whose place another answers, because it cannot; of a mirrored row the one that answered.
  private(set) var failed: Int64?
  /// Nil until one is found.
  var version: ServedModel?
  var hydrated: HydratedRows?
  /// What the model was given; kept where the caller wants it explained.
  var given: ColumnBatch?
  var latency = PredictLatency()
  /// True while the engine has the rows: what fails then fails by the version.
  var isScoring = false

  init(_ call: PredictCall, _ choice: RouteTable.Choice? = nil, places: [Int]? = nil) {
    self.call = call
    self.choice = choice
    rows = places.map { $0.map { call.rows[$0] } } ?? call.rows
    self.places = places ?? Array(call.rows.indices)
    route = choice?.route ?? (call.number == nil ? .noCanary : .named)
    failed = choice?.failed
  }

  mutating func take(_ choice: RouteTable.Choice) {
    route = choice.route
    failed = choice.failed
    version = nil
  }

  mutating func fallBack(from version: ServedModel, because error: PlatformError) {
    route = Route(.fallback, "version \(version.version) did not answer: \(error.message)")
    failed = version.version
    self.version = nil
  }

  /// What one version answered goes to another one.
  mutating func becomeShadow(_ shadow: ServedModel, of answered: ServedModel) {
    route = Route(.shadow, "mirrored from version \(answered.version)")
    failed = answered.version
    version = shadow
    latency = PredictLatency()
  }

  /// One row stands for a request that is too large to be logged.
  mutating func keepFirstRow() {
    rows = Array(rows.prefix(1))
    places = Array(places.prefix(1))
  }

  func answered(
    _ values: [Double], _ hydrated: HydratedRows, by version: ServedModel
  ) -> AnsweredPart {
    let explanations = given.map(explanations)
    return AnsweredPart(
      places: places,
      predictions: values.indices.map { row in
        Prediction(
          value: values[row], vector: hydrated.vectors[row], version: version.version,
          stage: version.artifact.stage, route: route, featureNames: version.featureNames,
          explanation: explanations?[row])
      }, latency: latency)
  }

  private func explanations(_ given: ColumnBatch) -> [Explanation] {
    let key = RoutingKey(call.model, entities: call.snapshot.project.entities)
    return rows.indices.map { row in
      Explanation(
        position: key.position(of: rows[row], requestID: call.requestID),
        given: given.columns.map { $0[row] })
    }
  }

  func records(
    _ values: [Double]?, _ error: PlatformError?, at time: Timestamp, answered: [Double]? = nil
  ) -> [PredictionRecord] {
    rows.indices.map { row in
      var record = PredictionRecord(
        requestID: call.rows.count == 1 ? call.requestID : "\(call.requestID)#\(places[row] + 1)",
        model: call.model, entities: call.snapshot.project.entities, version: version,
        route: route, row: rows[row], vector: hydrated?.vectors[row], value: values?[row],
        error: error?.description, time: time, latency: latency, callRow: row,
        otherVersion: failed,
        difference: values.flatMap { values in
          answered.map { values[row] - $0[row] }
        }, isVersionFault: error != nil && isScoring && error?.code != .cancelled)
      record.isGiven = call.vectors != nil
      return record
    }
  }
}
