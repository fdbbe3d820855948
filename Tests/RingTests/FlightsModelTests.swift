import Core
import Features
import Foundation
import Jobs
import Logging
import ServiceLifecycle
import Testing
import Workers

/// The example's model, learned from January to March and judged on April.
@Suite(.enabled(if: Flights.data != nil, Flights.absent)) struct FlightsModelTests {
  private static let asOf = Timestamp(microseconds: 1_367_539_200_000_000)  // 2013-05-03T00:00:00Z
  private static let april = Timestamp(microseconds: 1_364_788_800_000_000)  // 2013-04-01T04:00:00Z

  @Test(.enabled(if: FlightsPython.interpreter != nil, "no Python environment: run dev/bootstrap"))
  func `late arrivals of April are told apart as well as they can be, and no better`() async throws
  {
    try await FlightsStore.with(at: Self.asOf) { store, folder in
      for source in ["schedule", "arrivals", "departures"] {
        _ = try await store.ingest(source, Flights.flightsFile)
      }
      _ = try await store.ingest("weather", Flights.weatherFile)
      let model = try #require(store.snapshot.project.model("late_arrival"))
      let builder = TrainingSetBuilder(warehouse: store.warehouse)
      let set = try await builder.build(model, asOf: Self.asOf, snapshot: store.snapshot)
      #expect(set.record.rows == 105_475, "every flight that arrived has a label")
      #expect(zip(set.times, set.times.dropFirst()).allSatisfy { $0 <= $1 })
      let again = try await builder.build(model, asOf: Self.asOf, snapshot: store.snapshot)
      #expect(again.record == set.record, "the same data make the same set")
      let from = try #require(set.times.firstIndex { $0 >= Self.april.microseconds })
      #expect(abs(from - set.record.evaluationFrom) < 100, "the holdout is April")

      let predictions = try await FlightsPython.predictions(
        of: model, learnedFrom: set, evaluationFrom: from, folder: folder)
      let auc = try #require(
        Evaluation.score(
          .rocAUC, predictions: Array(predictions[from...]), labels: Array(set.label[from...])))
      #expect((0.74...0.785).contains(auc), "AUC \(auc): above is a leak, below a broken feature")
    }
  }
}

/// A Python worker that learns.
enum FlightsPython {
  static let interpreter: String? = {
    let given = ProcessInfo.processInfo.environment["MARTLET_PYTHON"]
    let own = "\(Flights.repository)/.venv/bin/python"
    return given ?? (FileManager.default.isExecutableFile(atPath: own) ? own : nil)
  }()

  static func predictions(
    of model: ModelDefinition, learnedFrom set: ModelTrainingSet, evaluationFrom: Int,
    folder: String
  ) async throws -> [Double] {
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let pool = WorkerPool(
      WorkerConfiguration(
        python: interpreter ?? "python3", pythonPath: ["\(Flights.repository)/python"],
        directory: folder), logger: log)
    let services = ServiceGroup(configuration: .init(services: [pool], logger: log))
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await services.run() }
      let outcome: Result<TrainingOutcome, any Error>
      do {
        let compute = WorkerCompute(pool: pool, scratch: folder + "/scratch")
        try compute.cleanUp()
        outcome = .success(
          try await compute.train(
            request(model, set, evaluationFrom: evaluationFrom), timeout: .minutes(10)))
      } catch {
        outcome = .failure(error)
      }
      await services.triggerGracefulShutdown()
      try await group.waitForAll()
      return try outcome.get().predictions
    }
  }

  private static func request(
    _ model: ModelDefinition, _ set: ModelTrainingSet, evaluationFrom: Int
  ) throws -> TrainingRequest {
    let train = try #require(model.train)
    var columns = set.features.columns
    columns.append(Column(name: "label", values: .double(set.label)))
    columns.append(Column(name: "event_timestamp", values: .timestamp(set.times)))
    return TrainingRequest(
      jobID: "flights", run: train.run, projectDirectory: Flights.example,
      dataset: ColumnBatch(columns: columns, count: set.record.rows),
      features: model.features.map(\.name), label: "label", parameters: train.parameters,
      evaluationFrom: evaluationFrom)
  }
}
