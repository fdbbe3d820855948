import Core
import Foundation
import Jobs
import Logging
import Server
import ServiceLifecycle
import Synchronization
import TestKit
import Testing

/// An address that answers as a test says, and remembers what it was sent.
private final class Collector: Sendable {
  private struct State {
    var answers: [Int]
    var taken: [String] = []
    var tries = 0
    var pauses: [Span] = []
  }

  private let state: Mutex<State>

  /// - Parameter answers: one a try, the last for all that follow; 0 is no answer.
  init(_ answers: [Int]) { state = Mutex(State(answers: answers)) }

  var taken: [String] { state.withLock { $0.taken } }
  var tries: Int { state.withLock { $0.tries } }
  var pauses: [Span] { state.withLock { $0.pauses } }

  func paused(_ span: Span) { state.withLock { $0.pauses.append(span) } }

  func take(_ body: [UInt8]) throws -> Int {
    try state.withLock { state in
      let answer = state.answers[min(state.tries, state.answers.count - 1)]
      state.tries += 1
      if answer == 0 { throw Disappointment("nobody there") }
      if answer < 300 { state.taken.append(String(decoding: body, as: UTF8.self)) }
      return answer
    }
  }
}

private func number(_ number: Int) -> JSON { .object(["n": .int(Int64(number))]) }

@Suite("OpenLineage events on their way")
struct OpenLineageLogTests {
  /// Runs the log until `isDone`, then stops it in good order.
  private func run(
    _ log: OpenLineageLog, until isDone: @escaping @Sendable () -> Bool
  ) async throws {
    let group = ServiceGroup(
      configuration: .init(services: [log], logger: Logger(label: "test")))
    try await withThrowingTaskGroup(of: Void.self) { tasks in
      tasks.addTask { try await group.run() }
      try await waitUntil("the events were dealt with", isDone)
      await group.triggerGracefulShutdown()
      try await tasks.waitForAll()
    }
  }

  private func log(
    _ folder: TemporaryFolder, _ collector: Collector?, fileBytes: Int = 1 << 20
  ) -> OpenLineageLog {
    var post: OpenLineageLog.Post?
    if let collector { post = { try collector.take($0) } }
    return OpenLineageLog(
      folder: folder.path + "/openlineage", fileBytes: fileBytes, post: post,
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      backOff: (.seconds(1), .seconds(3)),
      sleep: { collector?.paused($0) })
  }

  private func lines(_ folder: TemporaryFolder, _ name: String = "events.jsonl") -> [String] {
    folder.text("openlineage/\(name)").split(separator: "\n").map(String.init)
  }

  @Test("every event is a line of the file and a post of its own, in order")
  func both() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let collector = Collector([201])
    let log = log(folder, collector)
    for one in 1...5 { log.record(number(one)) }
    try await run(log) { collector.taken.count == 5 }
    let expected = (1...5).map { #"{"n":\#($0)}"# }
    #expect(lines(folder) == expected)
    #expect(collector.taken == expected)
  }

  @Test("what fails is posted again after pauses that double up to a limit, before anything newer")
  func backOff() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let collector = Collector([0, 503, 429, 408, 200])
    let log = log(folder, collector)
    log.record(number(1))
    log.record(number(2))
    try await run(log) { collector.taken.count == 2 }
    #expect(collector.taken == [#"{"n":1}"#, #"{"n":2}"#])
    #expect(collector.pauses == [.seconds(1), .seconds(2), .seconds(3), .seconds(3)])
  }

  @Test("what is refused for good is dropped, and the next one sent")
  func refused() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let collector = Collector([422, 200])
    let log = log(folder, collector)
    log.record(number(1))
    log.record(number(2))
    try await run(log) { collector.taken.count == 1 }
    #expect(collector.taken == [#"{"n":2}"#])
    #expect(collector.pauses == [])
    #expect(lines(folder).count == 2)
  }

  @Test("while nothing is taken the newest are kept, and recording never waits")
  func bounded() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let collector = Collector([200])
    let log = log(folder, collector)
    // Nobody runs the log yet: both queues fill.
    for one in 1...(Limits.openLineageEvents + 20) { log.record(number(one)) }
    try await run(log) { collector.taken.count == Limits.openLineageEvents }
    #expect(collector.taken.first == #"{"n":21}"#)
    #expect(lines(folder).first == #"{"n":21}"#)
    #expect(lines(folder).count == Limits.openLineageEvents)
  }

  @Test("a stop tries once more, gives up, and leaves all in the file")
  func stopped() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    let collector = Collector([0])
    let pause = AsyncStream.makeStream(of: Void.self)
    let log = OpenLineageLog(
      folder: folder.path + "/openlineage", post: { try collector.take($0) },
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
      sleep: { _ in
        // A pause that only the stop ends.
        for await _ in pause.stream {}
        pause.continuation.finish()
        throw CancellationError()
      })
    for one in 1...3 { log.record(number(one)) }
    try await run(log) { collector.tries == 1 }
    #expect(collector.taken == [])
    #expect(collector.tries == 2)
    #expect(lines(folder).count == 3)
  }

  @Test("a full file is put aside, and the oldest of those that were goes")
  func rotation() async throws {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    for one in 1...7 {
      let log = log(folder, nil, fileBytes: 5)
      log.record(number(one))
      let path = folder.path + "/openlineage/events.1.jsonl"
      try await run(log) {
        (try? String(contentsOfFile: path, encoding: .utf8)) == "{\"n\":\(one)}\n"
      }
    }
    #expect(
      (1...5).map { lines(folder, "events.\($0).jsonl").first } == [
        #"{"n":7}"#, #"{"n":6}"#, #"{"n":5}"#, #"{"n":4}"#, nil,
      ])
    #expect(lines(folder) == [])
  }

  @Test(
    "an address without a path is the API of the specification",
    arguments: [
      ("http://127.0.0.1:5000", "http://127.0.0.1:5000/api/v1/lineage"),
      ("http://marquez/", "http://marquez/api/v1/lineage"),
      ("https://a.example/custom?x=1", "https://a.example/custom?x=1"),
    ])
  func endpoint(text: String, address: String) {
    #expect(OpenLineageLog.endpoint(text) == address)
  }
}

@Suite("OpenLineage events of runs")
struct OpenLineageEventsTests {
  private func snapshot() throws -> Snapshot {
    Snapshot(
      version: 1, definitionsVersion: 4, definitionsDigest: "", projectDirectory: ".",
      project: try DefinitionFixtures.good("shop"), models: [:])
  }

  private let run = JobRun(
    id: "train-churn-1", kind: "train", model: "churn", state: .running, attempt: 2, maxAttempts: 3,
    parameters: TrainingParameters(), reason: "test", notBefore: Timestamp(microseconds: 0),
    leaseOwner: nil, leaseUntil: nil, progress: "", error: nil, version: nil,
    createdAt: Timestamp(microseconds: 0), finishedAt: nil)

  private func event(_ news: JobAttemptNews) throws -> JSON {
    OpenLineageEvents(try snapshot()).training(run, news, at: Timestamp(microseconds: 0))
  }

  @Test("the run's id is a UUID that the job and its attempt decide")
  func runID() throws {
    let id = OpenLineageEvents.runID("train-churn-1#2")
    #expect(UUID(uuidString: id)?.uuidString.lowercased() == id)
    #expect(try event(.begun)["run"]?["runId"]?.string == id)
    #expect(try event(.failed("x"))["run"]?["runId"]?.string == id)
    #expect(OpenLineageEvents.runID("train-churn-1#3") != id)
  }

  @Test("an attempt begins once and ends as what it came to, with the error's message")
  func kinds() throws {
    #expect(try event(.begun)["eventType"]?.string == "START")
    let failed = try event(.failed("the labels look wrong"))
    #expect(failed["eventType"]?.string == "FAIL")
    #expect(
      failed["run"]?["facets"]?["errorMessage"]?["message"]?.string == "the labels look wrong")
    #expect(try event(.aborted("gone"))["eventType"]?.string == "ABORT")
    let done = try event(.completed(CatalogSamples.version(model: "churn", stage: .registered)))
    #expect(done["eventType"]?.string == "COMPLETE")
  }

  @Test("a completed training says which columns each feature was made from")
  func columnLineage() throws {
    let done = try event(.completed(CatalogSamples.version(model: "churn", stage: .registered)))
    let set = try #require(done["outputs"]?.array?.first)
    #expect(set["namespace"]?.string == "martlet://shop")
    #expect(set["name"]?.string == "training_sets.churn")
    let fields = set["facets"]?["columnLineage"]?["fields"]
    let spent = fields?["customer_activity.spent_7d"]?["inputFields"]?.array ?? []
    #expect(spent.compactMap { $0["field"]?.string } == ["customer_id", "action", "amount"])
    #expect(Set(spent.compactMap { $0["name"]?.string }) == ["events_activity"])
    #expect(
      done["inputs"]?.array?.compactMap { $0["name"]?.string } == [
        "events_activity", "events_outcomes",
      ])
    #expect(done["outputs"]?.array?.last?["facets"]?["version"]?["datasetVersion"]?.string == "1")
  }
}
