import Core
import Features
import Synchronization
import Workers

/// Answers predictions: snapshot → version → hydrate → missing policy → engine → record → reply.
///
/// Guarantees: value and version of an answer belong together, whatever is reloaded meanwhile;
/// nothing waits for the log; every prediction of a model that there is is logged, failed ones with
/// their error, whether a version was found for them or not.
package final class Predictor: Sendable {
  package static let maximumRows = 10_000
  /// Rows of one call when a whole table is scored, few enough that predictions come between.
  private static let scoreRows = 2_000

  private let served: ModelReload
  private let hydrator: any FeatureHydrating
  private let engine: any ScoringEngine
  private let log: PredictionLog
  private let definitions: Published<Snapshot>
  private let clock: any WallClock
  /// The longest that a prediction may take, whatever its caller allows.
  private let timeout: Span
  private let stopwatch: WorkerClock
  private let requestIDs: RequestIDs

  package init(
    served: ModelReload, hydrator: any FeatureHydrating, engine: any ScoringEngine,
    log: PredictionLog, definitions: Published<Snapshot>, clock: any WallClock,
    timeout: Span = .seconds(30), stopwatch: WorkerClock = .system,
    requestIDs: RequestIDs = RequestIDs()
  ) {
    self.served = served
    self.hydrator = hydrator
    self.engine = engine
    self.log = log
    self.definitions = definitions
    self.clock = clock
    self.timeout = timeout
    self.stopwatch = stopwatch
    self.requestIDs = requestIDs
  }

  package func predict(_ request: PredictRequest) async throws -> PredictAnswer {
    let start = stopwatch.now()
    let snapshot = definitions.current
    let model = try Self.model(request.model, in: snapshot)
    let allowed = min(request.timeout ?? timeout, timeout)
    let deadline = Span(microseconds: start.microseconds + allowed.microseconds)
    var attempt = PredictAttempt(
      requestID: request.requestID ?? requestIDs.next(), model: model,
      entities: snapshot.project.entities,
      rows: request.vectors.map { .init(repeating: [:], count: $0.count) } ?? request.rows,
      vectors: request.vectors,
      route: request.version == nil ? "production" : "version", start: start)
    do {
      try Self.check(attempt.rows, hydrates: request.vectors == nil, for: model)
      return try await predict(&attempt, by: request.version, in: snapshot, until: deadline)
    } catch {
      let told = isLate(error, deadline, allowed) ? late(error, model.name, allowed) : error
      fail(&attempt, told)
      throw told
    }
  }

  private func predict(
    _ attempt: inout PredictAttempt, by number: Int64?, in snapshot: Snapshot, until deadline: Span
  ) async throws -> PredictAnswer {
    while true {
      let version = try await served.version(
        number, of: attempt.model.name, in: snapshot, timeout: left(until: deadline))
      attempt.version = version
      do {
        return try await predict(&attempt, by: version, until: deadline)
      } catch let error as PlatformError where error.isNotLoaded && left(until: deadline) > .zero {
        // It was replaced between the look at the table and the call: the table knows the newer
        // one.
        served.forget(version.key)
      }
    }
  }

  private func predict(
    _ attempt: inout PredictAttempt, by version: ServedModel, until deadline: Span
  ) async throws -> PredictAnswer {
    let begin = stopwatch.now()
    let hydrated = try await inputs(of: attempt, for: version)
    attempt.hydrated = hydrated
    attempt.latency.hydrate = Self.microseconds(from: begin, to: stopwatch.now())
    let columns = try MissingFeatures.resolve(
      attempt.model.missing, hydrated, model: attempt.model.name
    ).flattened(as: version.artifact.features, missing: attempt.model.missing)
    guard left(until: deadline) > .zero else {
      throw PlatformError(.deadlineExceeded, "reading its features took too long")
    }
    let scored = try await engine.score(version.key, columns, timeout: left(until: deadline))
    guard scored.values.count == attempt.rows.count else {
      throw PlatformError(
        .userCode,
        "\(version.key) answered \(scored.values.count) numbers for \(attempt.rows.count) rows")
    }
    attempt.latency.queue = Int(scored.queue.microseconds)
    attempt.latency.compute = Int(scored.compute.microseconds)
    attempt.latency.total = Self.microseconds(from: attempt.start, to: stopwatch.now())
    version.metrics.record(attempt.latency)
    version.metrics.count("ok", version: version.version, rows: attempt.rows.count)
    log.record(attempt.records(scored.values, nil, at: hydrated.time))
    return attempt.answer(scored.values, hydrated, by: version)
  }

  private func inputs(
    of attempt: PredictAttempt, for version: ServedModel
  ) async throws -> HydratedRows {
    if let vectors = attempt.vectors {
      return try GivenVectors.rows(vectors, for: version.artifact, at: clock.now)
    }
    return try await hydrator.hydrate(
      HydrateRequest(
        vector: version.artifact.features, inputs: attempt.model.inputs,
        entities: attempt.model.entities, rows: attempt.rows))
  }

  private func fail(_ attempt: inout PredictAttempt, _ error: any Error) {
    let platform = error as? PlatformError ?? PlatformError(.internalError, "\(error)")
    attempt.latency.total = Self.microseconds(from: attempt.start, to: stopwatch.now())
    (attempt.version?.metrics ?? served.metrics(of: attempt.model.name)).count(
      platform.code.rawValue, version: attempt.version?.version, rows: attempt.rows.count)
    if attempt.rows.count > Self.maximumRows { attempt.rows.removeLast(attempt.rows.count - 1) }
    log.record(attempt.records(nil, platform, at: attempt.hydrated?.time ?? clock.now))
  }

  /// A caller who goes away at the end of the time that it gave went away for that.
  private func isLate(_ error: any Error, _ deadline: Span, _ allowed: Span) -> Bool {
    switch error {
    case let error as PlatformError where error.code == .deadlineExceeded: true
    case let error as PlatformError where error.code != .cancelled: false
    default:
      left(until: deadline).microseconds <= allowed.microseconds / 20
        && (error is PlatformError || error is CancellationError)
    }
  }

  private func late(_ error: any Error, _ model: String, _ allowed: Span) -> PlatformError {
    let limit =
      allowed < timeout ? "timeout_ms or the deadline of the call" : "serving.predict_timeout"
    return PlatformError(
      .deadlineExceeded,
      "the prediction of model '\(model)' was not ready within the \(allowed) it was given; allow more "
        + "time (\(limit)), or ask again", cause: error)
  }

  /// What the production version says about rows that hold its features already; nil where there is
  /// none or a feature is not among the columns. Nothing is logged.
  package func score(model name: String, rows: ColumnBatch) async throws -> [Double]? {
    let snapshot = definitions.current
    guard snapshot.production(of: name) != nil else { return nil }
    let version = try await served.version(nil, of: name, in: snapshot, timeout: .minutes(2))
    let columns = version.featureNames.compactMap { rows[$0] }
    guard columns.count == version.featureNames.count else { return nil }
    let policy = snapshot.project.model(name)?.missing ?? MissingPolicy()
    let batch = MissingFeatures.fill(policy, ColumnBatch(columns: columns, count: rows.count))
      .flattened(as: version.artifact.features, missing: policy)
    var values = [Double](reserving: rows.count)
    for from in stride(from: 0, to: rows.count, by: Self.scoreRows) {
      let part = batch.gather(Array(from..<min(from + Self.scoreRows, rows.count)))
      // Callers wait for predictions; nobody waits for this.
      values += try await CallPriority.$current.withValue(.low) {
        try await engine.score(version.key, part, timeout: .minutes(1)).values
      }
    }
    return values
  }

  // MARK: Checks

  private static func model(_ name: String, in snapshot: Snapshot) throws -> ModelDefinition {
    guard let model = snapshot.project.model(name) else {
      let known = snapshot.project.models.map(\.name)
      throw PlatformError(
        .notFound, "there is no model '\(name)'\(suggestion(for: name, among: known))")
    }
    return model
  }

  private static func check(
    _ rows: [RequestRow], hydrates: Bool, for model: ModelDefinition
  ) throws {
    guard !rows.isEmpty, rows.count <= maximumRows else {
      throw PlatformError(
        .invalidArgument,
        "a prediction of '\(model.name)' takes 1 to \(maximumRows) rows, but got \(rows.count)")
    }
    guard hydrates else { return }
    for input in model.inputs where model.missing.perFeature[input.name] == nil {
      guard let row = rows.firstIndex(where: { $0[input.name] == nil }) else { continue }
      throw PlatformError(
        .invalidArgument,
        "row \(row + 1) lacks the input '\(input.name)' (\(input.type.rawValue)) of model "
          + "'\(model.name)'; send it with the request, or null where it is not known",
        context: ["input": input.name])
    }
  }

  private func left(until deadline: Span) -> Span {
    Span(microseconds: max(0, deadline.microseconds - stopwatch.now().microseconds))
  }

  private static func microseconds(from start: Span, to end: Span) -> Int {
    Int(end.microseconds - start.microseconds)
  }
}

extension PlatformError {
  /// The engine does not hold the version (any more).
  var isNotLoaded: Bool { context["reason"] == "not_loaded" }
}

extension Span {
  fileprivate static let zero = Span(microseconds: 0)
}

/// Ids of requests that bring none: different in every process, short, and in order.
package final class RequestIDs: Sendable {
  private let prefix: String
  private let count = Atomic<UInt64>(0)

  package init(random: UInt64 = .random(in: .min ... .max)) {
    prefix = String(random, radix: 36)
  }

  package func next() -> String {
    let number = count.wrappingAdd(1, ordering: .relaxed).newValue
    return "\(prefix)-\(String(number, radix: 36))"
  }
}

/// One try of one request with one version: what is known so far.
struct PredictAttempt: Sendable {
  let requestID: String
  let model: ModelDefinition
  let entities: [EntityDefinition]
  var rows: [RequestRow]
  /// In place of rows to hydrate.
  let vectors: ColumnBatch?
  let route: String
  let start: Span
  /// Nil until one is found.
  var version: ServedModel?
  var hydrated: HydratedRows?
  var latency = PredictLatency()

  func answer(
    _ values: [Double], _ hydrated: HydratedRows, by version: ServedModel
  ) -> PredictAnswer {
    PredictAnswer(
      requestID: requestID, model: model.name, version: version.version,
      stage: version.artifact.stage, route: route,
      predictions: zip(values, hydrated.vectors).map { Prediction(value: $0, vector: $1) },
      featureNames: version.featureNames, latency: latency)
  }

  func records(
    _ values: [Double]?, _ error: PlatformError?, at time: Timestamp
  ) -> [PredictionRecord] {
    rows.indices.map { row in
      var record = PredictionRecord(
        requestID: rows.count == 1 ? requestID : "\(requestID)#\(row + 1)", model: model,
        entities: entities, version: version, route: route, row: rows[row],
        vector: hydrated?.vectors[row],
        value: values?[row], error: error?.description, time: time, latency: latency)
      record.isGiven = vectors != nil
      return record
    }
  }
}
