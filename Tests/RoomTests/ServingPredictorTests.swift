import Core
import Serving
import TestKit
import Testing
import Workers

@Suite("Predictor")
struct ServingPredictorTests {
  private func error(
    _ body: () async throws -> PredictAnswer
  ) async -> PlatformError? {
    do {
      _ = try await body()
      return nil
    } catch { return error as? PlatformError }
  }

  @Test("an answer carries value, version, stage, route, vector and request id")
  func answers() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    let answer = try await room.predict()
    #expect(answer.predictions.map(\.value) == [3_020])
    #expect(answer.version == 3)
    #expect(answer.stage == .production)
    #expect(answer.route == "production")
    #expect(answer.requestID == "z-1")
    #expect(answer.featureNames == ["shopping.orders", "basket"])
    #expect(answer.predictions[0].vector.values[0].eventTimestamp == FakeHydrator.time)
    #expect(answer.latency.queue == 5)
    #expect(answer.latency.compute == 40)
  }

  @Test("a named version answers although another is in production")
  func namedVersion() async throws {
    let room = ServingRoom([ServingSample.version(3), ServingSample.version(2, .archived)])
    let answer = try await room.predict(version: 2)
    #expect(answer.predictions[0].value == 2_020)
    #expect(answer.route == "version")
    #expect(try await room.predict().version == 3)
  }

  @Test("an unknown model or version is told with the nearest name")
  func unknown() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    let model = await error {
      try await room.predictor.predict(PredictRequest(model: "churns", rows: [[:]]))
    }
    #expect(model?.code == .notFound)
    #expect(model?.message.contains("did you mean 'churn'?") == true)
    let version = await error { try await room.predict(version: 9) }
    #expect(version?.code == .notFound)
  }

  @Test("without a version in production the answer says how to promote one")
  func noProduction() async throws {
    let room = ServingRoom([ServingSample.version(4, .registered)])
    let failed = await error { try await room.predict() }
    #expect(failed?.code == .failedPrecondition)
    #expect(failed?.message.contains("martlet models promote churn 4") == true)
    let untrained = await error { try await ServingRoom([]).predict() }
    #expect(untrained?.message.contains("martlet train churn") == true)
  }

  @Test("a request without an input of the model is refused by name and type; a null is taken")
  func missingInput() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let failed = await error { try await room.predict(["customer_id": .int64(7)]) }
    #expect(failed?.code == .invalidArgument)
    #expect(failed?.message.contains("'basket' (double)") == true)
    let null = try await room.predict(["customer_id": .int64(7), "basket": .null])
    #expect(null.predictions[0].vector.values[1].status == .null)
    let empty = await error {
      try await room.predictor.predict(PredictRequest(model: "churn", rows: []))
    }
    #expect(empty?.code == .invalidArgument)
  }

  @Test(
    "a missing feature follows the model's policy",
    arguments: [(MissingPolicy.Rule.null, 999.0), (.value(4), 1_004)])
  func missingPolicy(rule: MissingPolicy.Rule, value: Double) async throws {
    let policy = MissingPolicy(perFeature: ["shopping.orders": rule])
    let room = ServingRoom([ServingSample.version(1)], missing: policy)
    let answer = try await room.predict(["customer_id": .int64(7), "basket": .double(-1)])
    #expect(answer.predictions[0].value == value)
    #expect(answer.predictions[0].vector.values[0].value == .null)
    #expect(answer.predictions[0].vector.values[0].status == .notFound)
  }

  @Test("a missing feature whose rule is error fails, named with why it is missing")
  func missingError() async throws {
    let room = ServingRoom([ServingSample.version(1)], missing: MissingPolicy(default: .error))
    let failed = await error {
      try await room.predict(["customer_id": .int64(7), "basket": .double(-1)])
    }
    #expect(failed?.code == .missingFeature)
    #expect(failed?.message.contains("'shopping.orders' (not_found)") == true)
  }

  @Test("predictions and failures are logged with keys, vector, result and latency")
  func logs() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    _ = try await room.predict()
    _ = await error { try await room.predict(["customer_id": .int64(8), "basket": .double(13)]) }
    let rows = try await room.logged()
    #expect(rows.count == 2)
    #expect(rows["request_id"]?.values == .string(["z-1", "z-2"]))
    #expect(rows["model_version"]?.values == .string(["3", "3"]))
    #expect(rows["entity_keys"]?[0] == .string(#"{"customer_id":7}"#))
    #expect(
      rows["model_inputs"]?[0]
        == .string(
          #"[{"name":"shopping.orders","value":20.0,"status":"present","event_timestamp":"2023-11-14T22:13:20Z"},"#
            + #"{"name":"basket","value":2.0,"status":"present","event_timestamp":null}]"#))
    #expect(rows["model_result"]?[0] == .double(3_020))
    #expect(rows["model_result"]?[1] == .null)
    #expect(rows["model_error"]?[0] == .null)
    #expect(rows["model_error"]?[1] == .string("the model does not like 13"))
    #expect(rows["event_datetime"]?[0] == .timestamp(FakeHydrator.time))
    #expect(rows["compute_us"]?[0] == .int64(40))
  }

  @Test("what fails before a version is found is logged with its error, and with no version")
  func logsWithoutVersion() async throws {
    let room = ServingRoom([ServingSample.version(4, .registered)])
    _ = await error { try await room.predict() }
    _ = await error { try await room.predict(version: 9) }
    _ = await error { try await room.predict(["customer_id": .int64(7)]) }
    let rows = try await room.logged()
    #expect(rows["request_id"]?.values == .string(["z-1", "z-2", "z-3"]))
    #expect(rows["route"]?.values == .string(["production", "version", "production"]))
    for (row, says) in ["no version in production", "no version 9", "lacks the input"].enumerated()
    {
      #expect(rows["model_version"]?[row] == .null && rows["stage"]?[row] == .null)
      #expect(rows["entity_keys"]?[row] == .string(#"{"customer_id":7}"#))
      guard case .string(let told)? = rows["model_error"]?[row] else {
        Issue.record("row \(row) has no error")
        continue
      }
      #expect(told.contains(says), "\(told)")
    }
  }

  @Test("a request of too many rows is logged as one failure")
  func logsTooMany() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let rows = [RequestRow](repeating: [:], count: Predictor.maximumRows + 1)
    let failed = await error {
      try await room.predictor.predict(PredictRequest(model: "churn", rows: rows))
    }
    #expect(failed?.code == .invalidArgument)
    #expect(try await room.logged().count == 1)
  }

  /// Says in place of values how long it was given.
  private struct Patience: ScoringEngine {
    func score(
      _ model: ModelKey, _ rows: ColumnBatch, timeout: Span
    ) async throws -> ScoredRows {
      ScoredRows(
        values: [timeout.inSeconds], queue: .milliseconds(0), compute: .milliseconds(0))
    }
  }

  @Test(
    "a caller may give a prediction less time than the platform does, not more",
    arguments: [(nil, 30), (.seconds(2), 2), (.minutes(9), 30)] as [(Span?, Double)])
  func timeLimit(asked: Span?, given: Double) async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let predictor = Predictor(
      served: room.reload, hydrator: FakeHydrator(), engine: Patience(), log: room.log,
      definitions: room.definitions, clock: TestClock(), timeout: .seconds(30),
      stopwatch: WorkerClock(now: { Span(microseconds: 7) }, sleep: { _ in }))
    let row: RequestRow = ["customer_id": .int64(7), "basket": .double(2)]
    let answer = try await predictor.predict(
      PredictRequest(model: "churn", rows: [row], timeout: asked))
    #expect(answer.predictions.map(\.value) == [given])
  }

  @Test("a prediction whose time is over says so, how long it was, and what to change")
  func late() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let clock = TestClock(Timestamp(microseconds: 0))
    let predictor = Predictor(
      served: room.reload, hydrator: FakeHydrator(), engine: Patience(), log: room.log,
      definitions: room.definitions, clock: TestClock(), timeout: .seconds(30),
      stopwatch: WorkerClock(
        now: {
          // Every look at the clock finds it 20 ms later.
          clock.advance(by: .milliseconds(20))
          return Span(microseconds: clock.now.microseconds)
        }, sleep: { _ in await Task.yield() }))
    let row: RequestRow = ["customer_id": .int64(7), "basket": .double(2)]
    _ = try await room.predict()
    let failed = await error {
      try await predictor.predict(
        PredictRequest(model: "churn", rows: [row], timeout: .milliseconds(50)))
    }
    #expect(failed?.code == .deadlineExceeded)
    #expect(failed?.message.contains("within the 50ms it was given") == true, "\(failed as Any)")
    #expect(failed?.message.contains("timeout_ms") == true)
    #expect(try await room.logged()["model_error"]?.isPresent(1) == true)
  }

  @Test("the rows of one request are answered in order and logged apart")
  func manyRows() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let rows: [RequestRow] = (1...3).map {
      ["customer_id": .int64(Int64($0)), "basket": .double(Double($0))]
    }
    let answer = try await room.predictor.predict(
      PredictRequest(model: "churn", rows: rows, requestID: "r"))
    #expect(answer.predictions.map(\.value) == [1_010, 1_020, 1_030])
    let ids = try await room.logged()["request_id"]?.values
    #expect(ids == .string(["r#1", "r#2", "r#3"]))
  }

  @Test(
    "a table of rows is scored with production, and not where a feature is not among its columns")
  func scores() async throws {
    let room = ServingRoom([ServingSample.version(1)])
    let orders = Column(
      name: "shopping.orders", values: .double((0..<5_000).map { Double($0) + 200 }))
    let basket = Column(name: "basket", values: .double([Double](repeating: 0, count: 5_000)))
    let scored = try await room.predictor.score(
      model: "churn", rows: ColumnBatch(columns: [basket, orders]))
    #expect(scored?.count == 5_000)
    #expect(scored?.last == 6_199)
    #expect(
      try await room.predictor.score(model: "churn", rows: ColumnBatch(columns: [orders])) == nil)
    #expect(try await room.logged().count == 0)
  }
}
