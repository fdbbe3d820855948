import Core
import Features
import Workers

/// Answers predictions: snapshot → route → hydrate → missing policy → engine → record → reply.
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
  private let mirror: ShadowMirror?

  package init(
    served: ModelReload, hydrator: any FeatureHydrating, engine: any ScoringEngine,
    log: PredictionLog, definitions: Published<Snapshot>, clock: any WallClock,
    timeout: Span = .seconds(30), stopwatch: WorkerClock = .system,
    requestIDs: RequestIDs = RequestIDs(), mirror: ShadowMirror? = nil
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
    self.mirror = mirror
  }

  package func predict(_ request: PredictRequest) async throws -> PredictAnswer {
    let start = stopwatch.now()
    let snapshot = definitions.current
    let model = try Self.model(request.model, in: snapshot)
    let allowed = min(request.timeout ?? timeout, timeout)
    let call = PredictCall(
      requestID: request.requestID ?? requestIDs.next(), model: model, snapshot: snapshot,
      routes: served.routes(of: request.model), number: request.version,
      rows: request.vectors.map { .init(repeating: [:], count: $0.count) } ?? request.rows,
      vectors: request.vectors,
      wantsExplanation: request.wantsExplanation,
      start: start, allowed: allowed)
    let parts = try parts(of: call, isSplit: !request.wantsOneVersion)
    if parts.count == 1 { return call.answer([try await answer(parts[0])]) }
    return call.answer(
      try await withThrowingTaskGroup(of: AnsweredPart.self) { group in
        for part in parts { group.addTask { try await self.answer(part) } }
        return try await group.reduce(into: []) { $0.append($1) }
      })
  }

  /// The rows by the version that is to answer them: each goes by its own key, unless the caller wants one version.
  private func parts(of call: PredictCall, isSplit: Bool) throws -> [PredictAttempt] {
    do {
      try Self.check(call.rows, hydrates: call.vectors == nil, for: call.model)
    } catch {
      var attempt = PredictAttempt(call)
      fail(&attempt, error)
      throw error
    }
    guard call.number == nil, let routes = call.routes, routes.canary != nil
    else { return [PredictAttempt(call)] }
    let key = RoutingKey(call.model, entities: call.snapshot.project.entities)
    func choice(_ row: RequestRow) -> RouteTable.Choice {
      routes.choose(at: key.position(of: row, requestID: call.requestID))
    }
    let first = choice(call.rows[0])
    if call.rows.count == 1 || !isSplit { return [PredictAttempt(call, first)] }
    var split: [(choice: RouteTable.Choice, places: [Int])] = [(first, [0])]
    for (place, row) in call.rows.enumerated().dropFirst() {
      let choice = choice(row)
      if let part = split.firstIndex(where: { $0.choice == choice }) {
        split[part].places.append(place)
      } else {
        split.append((choice, [place]))
      }
    }
    if split.count == 1 { return [PredictAttempt(call, first)] }
    return split.map { PredictAttempt(call, $0.choice, places: $0.places) }
  }

  private func answer(_ part: PredictAttempt) async throws -> AnsweredPart {
    var attempt = part
    let deadline = part.call.deadline
    do {
      if part.choice?.target == .canary,
        let answered = try await predictByCanary(&attempt, until: deadline)
      {
        return answered
      }
      return try await predict(&attempt, by: part.call.number, until: deadline)
    } catch {
      let allowed = part.call.allowed
      let told =
        isLate(error, deadline, allowed) ? late(error, part.call.model.name, allowed) : error
      fail(&attempt, told)
      throw told
    }
  }

  /// Nil where the canary cannot answer: the way of the attempt then says why.
  private func predictByCanary(
    _ attempt: inout PredictAttempt, until deadline: Span
  ) async throws -> AnsweredPart? {
    while let routes = served.routes(of: attempt.call.model.name) {
      // The position of the key is known to be within the share.
      let choice = routes.choose(at: 0)
      attempt.take(choice)
      guard choice.target == .canary, let version = routes.canary?.served else { return nil }
      attempt.version = version
      do {
        return try await predict(&attempt, by: version, until: deadline)
      } catch let error as PlatformError
        where attempt.isScoring && error.isEngineDown && left(until: deadline) > .zero
      {
        attempt.isScoring = false
        if error.isNotLoaded {
          // Promoted, rolled back or lost: the table knows.
          served.forget(version.key)
          continue
        }
        version.metrics.count(
          error.code.rawValue, version: version.version, rows: attempt.rows.count)
        attempt.fallBack(from: version, because: error)
        return nil
      }
    }
    return nil
  }

  private func predict(
    _ attempt: inout PredictAttempt, by number: Int64?, until deadline: Span
  ) async throws -> AnsweredPart {
    while true {
      let version = try await served.version(
        number, of: attempt.call.model.name, in: attempt.call.snapshot,
        timeout: left(until: deadline))
      attempt.version = version
      do {
        return try await predict(&attempt, by: version, until: deadline)
      } catch let error as PlatformError where error.isNotLoaded && left(until: deadline) > .zero {
        // It was replaced between the look at the table and the call: the table knows the newer
        // one.
        attempt.isScoring = false
        served.forget(version.key)
      }
    }
  }

  private func predict(
    _ attempt: inout PredictAttempt, by version: ServedModel, until deadline: Span
  ) async throws -> AnsweredPart {
    let begin = stopwatch.now()
    let model = attempt.call.model
    let hydrated = try await inputs(of: attempt, for: version)
    attempt.hydrated = hydrated
    attempt.latency.hydrate = Self.microseconds(from: begin, to: stopwatch.now())
    let given = try MissingFeatures.resolve(model.missing, hydrated, model: model.name)
    if attempt.call.wantsExplanation { attempt.given = given }
    let columns = given.flattened(as: version.artifact.features, missing: model.missing)
    guard left(until: deadline) > .zero else {
      throw PlatformError(.deadlineExceeded, "reading its features took too long")
    }
    attempt.isScoring = true
    let scored = try await engine.score(version.key, columns, timeout: left(until: deadline))
    guard scored.values.count == attempt.rows.count else {
      throw PlatformError(
        .userCode,
        "\(version.key) answered \(scored.values.count) numbers for \(attempt.rows.count) rows")
    }
    attempt.isScoring = false
    attempt.latency.queue = Int(scored.queue.microseconds)
    attempt.latency.compute = Int(scored.compute.microseconds)
    attempt.latency.total = Self.microseconds(from: attempt.call.start, to: stopwatch.now())
    note(attempt, by: version, at: hydrated.time)
    log.record(attempt.records(scored.values, nil, at: hydrated.time))
    if let shadow = attempt.call.routes?.shadow, attempt.call.number == nil,
      shadow.key != version.key
    {
      mirror?.take(
        ShadowMirror.Answered(
          attempt: attempt, values: scored.values, hydrated: hydrated, by: version, shadow: shadow))
    }
    return attempt.answered(scored.values, hydrated, by: version)
  }

  private func note(_ attempt: PredictAttempt, by version: ServedModel, at time: Timestamp) {
    version.metrics.count("ok", version: version.version, rows: attempt.rows.count)
    version.metrics.latencies.record(
      SlowCall(
        requestID: attempt.call.requestID, version: version.version, route: attempt.route.kind,
        rows: attempt.rows.count, latency: attempt.latency, time: time),
      stage: version.artifact.stage, at: stopwatch.now().microseconds)
  }

  private func inputs(
    of attempt: PredictAttempt, for version: ServedModel
  ) async throws -> HydratedRows {
    let call = attempt.call
    if let vectors = call.vectors {
      let rows = attempt.rows.count == vectors.count ? vectors : vectors.gather(attempt.places)
      return try GivenVectors.rows(rows, for: version.artifact, at: clock.now)
    }
    return try await hydrator.hydrate(
      HydrateRequest(
        vector: version.artifact.features, inputs: call.model.inputs,
        entities: call.model.entities, rows: attempt.rows))
  }

  private func fail(_ attempt: inout PredictAttempt, _ error: any Error) {
    let platform = error as? PlatformError ?? PlatformError(.internalError, "\(error)")
    let call = attempt.call
    attempt.latency.total = Self.microseconds(from: call.start, to: stopwatch.now())
    (attempt.version?.metrics ?? served.metrics(of: call.model.name)).count(
      platform.code.rawValue, version: attempt.version?.version, rows: attempt.rows.count)
    if attempt.rows.count > Self.maximumRows { attempt.keepFirstRow() }
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

  /// No answer came, and another engine may well give one. A model that refuses a row has answered.
  var isEngineDown: Bool {
    switch code {
    case .unavailable, .internalError, .storage: true
    default: false
    }
  }
}

extension Span {
  fileprivate static let zero = Span(microseconds: 0)
}
