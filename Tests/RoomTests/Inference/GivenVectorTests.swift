import Core
import Serving
import TestKit
import Testing
import Workers

@Suite("Vectors that a caller brings")
struct GivenVectorTests {
  private func request(_ columns: [Column]) -> PredictRequest {
    PredictRequest(model: "churn", rows: [], vectors: ColumnBatch(columns: columns))
  }

  private let orders = Column(name: "shopping.orders", values: .double([4, 5]))
  private let basket = Column(name: "basket", values: .double([1, 0]), presence: [0, 1])

  @Test("they go to the model as they are, in whatever order their columns stand")
  func scored() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    let answer = try await room.predictor.predict(request([basket, orders]))
    #expect(answer.predictions.map(\.value) == [3_004, 3_005])
    #expect(answer.predictions[1].vector.values[1] == FeatureValue(value: .null, status: .null))
    #expect(answer.predictions[0].vector.values[0].status == .present)
  }

  @Test("they follow the model's policy for missing values")
  func missing() async throws {
    let room = ServingRoom(
      [ServingSample.version(3)], missing: MissingPolicy(perFeature: ["basket": .error]))
    await #expect(throws: PlatformError.self) {
      try await room.predictor.predict(request([orders, basket]))
    }
  }

  @Test("they are logged without keys")
  func logged() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    _ = try await room.predictor.predict(request([orders, basket]))
    _ = try await room.predict()
    let log = try await room.logged()
    #expect(log["entity_keys"]?.values == .string(["null", "null", #"{"customer_id":7}"#]))
  }

  @Test("a feature that is not among them, or of another type, is told by its name")
  func lacking() async {
    let room = ServingRoom([ServingSample.version(3)])
    let whole = Column(name: "shopping.orders", values: .int64([1]))
    for columns in [[basket], [whole, Column(name: "basket", values: .double([1]))]] {
      do {
        _ = try await room.predictor.predict(request(columns))
        Issue.record("it was answered")
      } catch {
        let error = error as? PlatformError
        #expect(error?.code == .invalidArgument)
        #expect(error?.message.contains("'shopping.orders' (double)") == true)
      }
    }
  }

  @Test("a model that was unloaded refuses predictions until it is loaded again")
  func unloaded() async throws {
    let room = ServingRoom([ServingSample.version(3)])
    _ = try await room.predict()
    #expect(room.reload.isLoaded(nil, of: "churn") && room.reload.isLoaded(3, of: "churn"))
    room.reload.unload("churn")
    #expect(!room.reload.isLoaded(3, of: "churn"))
    #expect(!room.host.holds(ModelKey(model: "churn", version: 3)))
    #expect(room.reload.isReady)
    let refused = await #expect(throws: PlatformError.self) { try await room.predict() }
    #expect(refused?.code == .failedPrecondition)
    try await room.reload.load("churn", in: room.definitions.current, timeout: .seconds(5))
    #expect(try await room.predict().version == 3)
  }
}
