import Core
import Synchronization
import Testing
import Wire
import Workers

@Suite("Worker roster")
struct WorkersRosterTests {
  /// A roster with a clock of its own and a record of what it wanted done.
  final class House {
    var roster: WorkerRoster
    var now = Span.seconds(1_000)
    var flights: [WorkerID: Flight] = [:]
    var spawned: [WorkerID] = []
    var drained: [WorkerID] = []
    var killed: [WorkerID] = []
    var answers: [UInt64: Result<WorkerAnswer, PlatformError>] = [:]
    var loads: [Result<Void, PlatformError>] = []
    var wakes: [Span] = []
    var scaled: [(workers: Int, why: String)] = []
    var warnings: [String] = []
    private var nextItem: UInt64 = 1

    init(workers: Int = 4) {
      let configuration = WorkerConfiguration(
        pythonPath: [], directory: "/", maxPythonWorkers: workers,
        backoff: RestartBackoff(first: .seconds(1)))
      roster = WorkerRoster(configuration, chance: { 1 })
      roster.listening = true
    }

    func take(_ effects: [WorkerRoster.Effect]) {
      for effect in effects {
        switch effect {
        case .spawn(let worker, _): spawned.append(worker)
        case .send(let worker, let flight): flights[worker] = flight
        case .askToDrain(let worker): drained.append(worker)
        case .kill(let worker, _): killed.append(worker)
        case .answer(let item, let result): answers[item.id] = result
        case .loaded(_, let result): loads.append(result)
        case .wake(let time): wakes.append(time)
        case .scaled(_, let workers, _, let why): scaled.append((workers, why))
        case .warn(let message): warnings.append(message)
        case .welcome, .restarted: break
        }
      }
    }

    @discardableResult
    func submit(
      _ task: WorkerTask, timeout: Span = .seconds(60), priority: CallPriority = .normal
    ) -> UInt64 {
      defer { nextItem += 1 }
      let deadline = Span(microseconds: now.microseconds + timeout.microseconds)
      let item = WorkItem(
        id: nextItem, task: task, queuedAt: now, deadline: deadline, priority: priority
      ) { _ in }
      take(roster.submit(item, now: now))
      return nextItem
    }

    func predict(
      _ version: Int64 = 1, x: Double = 1, timeout: Span = .seconds(60),
      priority: CallPriority = .normal
    ) -> UInt64 {
      let rows = ColumnBatch(columns: [Column(name: "x", values: .double([x]))])
      return submit(.predict(House.key(version), rows: rows), timeout: timeout, priority: priority)
    }

    func hello(_ worker: WorkerID) { take(roster.hello(worker, memory: 1, now: now).1) }

    /// The worker answers what it was sent last.
    func answer(_ worker: WorkerID, _ fault: TaskFault? = nil) {
      guard let flight = flights.removeValue(forKey: worker) else { return }
      let result = fault.map { Result.failure($0) } ?? .success(Martlet_Worker_V1_Result())
      take(roster.answered(worker, flight.id, result, now: now))
    }

    func assign(_ version: Int64 = 1, count: Int = 1) {
      let artifact = ModelArtifact(
        key: House.key(version), path: "/a", sha256: "", format: "pickle", features: ["x"])
      take(roster.assign(artifact, count: count, now: now) { _ in })
    }

    /// A worker that serves the version.
    func serve(_ version: Int64 = 1) -> WorkerID {
      assign(version)
      let worker = spawned[spawned.count - 1]
      hello(worker)
      answer(worker)
      return worker
    }

    func pass(_ span: Span) {
      now = Span(microseconds: now.microseconds + span.microseconds)
      take(roster.tick(now: now, memory: nil))
    }

    /// Versions from 100 on are another model's.
    static func key(_ version: Int64) -> ModelKey {
      ModelKey(model: version < 100 ? "m" : "other", version: version)
    }
  }

  private static let training = WorkerTask.train(
    TrainingTask(
      runPath: "t.py", function: "train", workingDirectory: "/", datasetPath: "/d", features: [],
      label: "y", options: "{}", outputDirectory: "/o", evaluationFrom: 1))
  private static let transform = WorkerTask.transform(
    TransformTask(codePath: "t.py", function: "f", rows: ColumnBatch(columns: [])))
  private static let userError = TaskFault(.final, PlatformError(.userCode, "raised"))

  private func code(_ house: House, _ item: UInt64) -> ErrorCode? {
    guard case .failure(let error)? = house.answers[item] else { return nil }
    return error.code
  }

  private func isAnswered(_ house: House, _ item: UInt64) -> Bool {
    if case .success? = house.answers[item] { true } else { false }
  }

  @Test("a version is loaded before its worker takes predictions")
  func loadsFirst() {
    let house = House()
    house.assign()
    #expect(house.spawned.count == 1)
    house.hello(house.spawned[0])
    guard case .load? = house.flights[house.spawned[0]]?.work else {
      Issue.record("nothing is loaded")
      return
    }
    let item = house.predict()
    #expect(house.flights[house.spawned[0]]?.items.isEmpty == true)
    house.answer(house.spawned[0])
    #expect(house.loads.count == 1)
    #expect(house.flights[house.spawned[0]]?.items.map(\.id) == [item])
    house.answer(house.spawned[0])
    #expect(isAnswered(house, item))
  }

  @Test("a lone request goes at once; those that wait go together, at most 64 rows")
  func batches() {
    let house = House()
    let worker = house.serve()
    let first = house.predict()
    #expect(house.flights[worker]?.items.map(\.id) == [first])
    let waiting = (0..<70).map { house.predict(x: Double($0)) }
    house.answer(worker)
    #expect(house.flights[worker]?.items.map(\.id) == Array(waiting.prefix(64)))
    house.answer(worker)
    #expect(house.flights[worker]?.items.map(\.id) == Array(waiting.suffix(6)))
    guard case .success(let answer)? = house.answers[waiting[5]] else { return }
    #expect(answer.firstRow == 5)
  }

  @Test("a batch that fails is tried row by row, and only the bad row fails")
  func splits() {
    let house = House()
    let worker = house.serve()
    _ = house.predict()
    let waiting = (0..<3).map { house.predict(x: Double($0)) }
    house.answer(worker)
    house.answer(worker, Self.userError)
    #expect(house.flights[worker]?.items.map(\.id) == [waiting[0]])
    house.answer(worker)
    house.answer(worker, Self.userError)
    house.answer(worker)
    #expect(isAnswered(house, waiting[0]))
    #expect(code(house, waiting[1]) == .userCode)
    #expect(isAnswered(house, waiting[2]))
  }

  @Test("a task that was lost goes to another worker, and its second loss is told")
  func retriesElsewhere() {
    let house = House()
    house.assign(count: 2)
    let (a, b) = (house.spawned[0], house.spawned[1])
    for worker in [a, b] {
      house.hello(worker)
      house.answer(worker)
    }
    let item = house.predict()
    #expect(house.flights[a]?.items.count == 1)
    house.take(house.roster.closed(a, now: house.now))
    #expect(house.flights[b]?.items.map(\.id) == [item])
    #expect(house.answers[item] == nil)
    house.take(house.roster.closed(b, now: house.now))
    #expect(code(house, item) == .unavailable)
  }

  @Test("a version that ends its workers is held back, and the others are served on at once")
  func suspends() {
    // One worker serves both versions.
    let house = House(workers: 2)
    _ = house.serve(1)
    house.assign(2)
    house.answer(house.spawned[0])
    let bad = house.predict(2)
    house.take(house.roster.closed(house.spawned[0], now: house.now))
    #expect(house.spawned.count == 2, "no back-off for the sake of the healthy version")
    house.hello(house.spawned[1])
    for _ in 0..<2 { house.answer(house.spawned[1]) }
    #expect(house.flights[house.spawned[1]]?.items.map(\.id) == [bad], "the same task once more")
    house.take(house.roster.closed(house.spawned[1], now: house.now))
    #expect(code(house, bad) == .unavailable, "a second loss is told")
    let last = house.predict(2)
    house.hello(house.spawned[2])
    for _ in 0..<2 { house.answer(house.spawned[2]) }
    #expect(house.flights[house.spawned[2]]?.items.map(\.id) == [last])
    let waiting = house.predict(2)
    house.take(house.roster.closed(house.spawned[2], now: house.now))
    #expect(code(house, last) == .unavailable && code(house, waiting) == .unavailable)
    house.hello(house.spawned[3])
    house.answer(house.spawned[3])
    let refused = house.predict(2)
    guard case .failure(let refusal)? = house.answers[refused] else {
      Issue.record("it was not held back")
      return
    }
    #expect(refusal.retryAfter == .seconds(1) && refusal.message.contains("is held back"))
    let good = house.predict(1)
    house.answer(house.spawned[3])
    #expect(isAnswered(house, good), "the others are served before it is loaded again")
    house.pass(.seconds(1))
    let load = house.flights[house.spawned[3]]?.work
    if case .load(let artifact)? = load {
      #expect(artifact.key == House.key(2))
    } else {
      Issue.record("it is not loaded again")
    }
    house.answer(house.spawned[3])
    let trial = house.predict(2)
    house.answer(house.spawned[3])
    #expect(isAnswered(house, trial))
    let next = house.predict(2)
    #expect(house.flights[house.spawned[3]]?.items.map(\.id) == [next])
  }

  @Test("a lost worker is replaced after its back-off and loads what it served")
  func replaces() {
    let house = House()
    let worker = house.serve()
    house.take(house.roster.closed(worker, now: house.now))
    #expect(house.spawned.count == 1)
    house.pass(.milliseconds(900))
    #expect(house.spawned.count == 1)
    house.pass(.milliseconds(200))
    #expect(house.spawned.count == 2)
    let item = house.predict()
    house.hello(house.spawned[1])
    house.answer(house.spawned[1])
    #expect(house.flights[house.spawned[1]]?.items.map(\.id) == [item])
  }

  @Test("a training never runs where a model is served, and leaves a worker for transforms")
  func separatesRoles() {
    let house = House()
    let serving = house.serve()
    let trainings = (0..<3).map { _ in house.submit(Self.training) }
    #expect(house.spawned.count == 3)
    for worker in house.spawned.dropFirst() { house.hello(worker) }
    #expect(house.flights[serving] == nil)
    #expect(house.flights.values.flatMap(\.items).map(\.id).sorted() == Array(trainings.prefix(2)))
    let change = house.submit(Self.transform)
    #expect(house.spawned.count == 4)
    house.hello(house.spawned[3])
    #expect(house.flights[house.spawned[3]]?.items.map(\.id) == [change])
  }

  @Test(
    "never more processes than allowed: models share workers at the limit, and one place stays for the rest"
  )
  func isBounded() {
    let house = House(workers: 3)
    for version in Int64(1)...5 { house.assign(version) }
    #expect(house.spawned.count == 2)
    for worker in house.spawned { house.hello(worker) }
    for _ in 0..<5 { for worker in house.spawned { house.answer(worker) } }
    #expect(house.loads.count == 5)
    for _ in 0..<9 { house.submit(Self.transform) }
    #expect(house.spawned.count == 3)
  }

  @Test("a version is let go after its last call, and its worker with it")
  func unloads() {
    let house = House()
    let worker = house.serve()
    let (running, waiting) = (house.predict(), house.predict())
    house.take(house.roster.unassign(House.key(1), now: house.now))
    house.answer(worker)
    #expect(house.drained.isEmpty)
    house.answer(worker)
    #expect(isAnswered(house, running))
    #expect(isAnswered(house, waiting))
    #expect(house.drained == [worker])
    #expect(code(house, house.predict()) == .unavailable)
  }

  @Test("a full queue refuses with a time to come back")
  func refuses() {
    let house = House()
    _ = house.serve()
    for _ in 0...Limits.predictionQueue { _ = house.predict() }
    let refused = house.predict()
    guard case .failure(let error)? = house.answers[refused] else {
      Issue.record("it was taken")
      return
    }
    #expect(error.code == .overloaded)
    #expect(error.retryAfter != nil)
    #expect(house.answers.count == 1)
  }

  @Test(
    "a passed deadline is told; the worker is killed for a prediction only when it goes on and on")
  func deadlines() {
    let house = House()
    let worker = house.serve()
    let running = house.predict(timeout: .seconds(1))
    let waiting = house.predict(timeout: .seconds(2))
    house.pass(.seconds(1))
    #expect(code(house, running) == .deadlineExceeded)
    #expect(house.killed.isEmpty)
    house.pass(.seconds(1))
    #expect(code(house, waiting) == .deadlineExceeded)
    house.take(house.roster.heartbeat(worker, memory: 1, now: house.now))
    house.pass(.seconds(4))
    #expect(house.killed == [worker])
  }

  @Test("a cancelled training ends its worker; a cancelled prediction costs none")
  func cancels() {
    let house = House()
    let serving = house.serve()
    let prediction = house.predict()
    house.take(house.roster.cancel(prediction, now: house.now))
    #expect(code(house, prediction) == .cancelled)
    #expect(house.killed.isEmpty)
    house.answer(serving)
    let training = house.submit(Self.training)
    house.hello(house.spawned[1])
    house.take(house.roster.cancel(training, now: house.now))
    #expect(code(house, training) == .cancelled)
    #expect(house.killed == [house.spawned[1]])
  }

  @Test(
    "a model that does not load fails those who wait, and a worker that never starts is given up")
  func givesUp() {
    let house = House()
    house.assign()
    house.hello(house.spawned[0])
    house.answer(house.spawned[0], Self.userError)
    guard case .failure(let error)? = house.loads.first else {
      Issue.record("it was loaded")
      return
    }
    #expect(error.code == .userCode)
    let item = house.submit(Self.training)
    for attempt in 1...3 {
      let last = house.spawned[house.spawned.count - 1]
      house.take(house.roster.exited(last, lastWords: "No module named numpy", now: house.now))
      #expect((house.answers[item] == nil) == (attempt < 3))
      house.pass(.seconds(10))
    }
    guard case .failure(let words)? = house.answers[item] else { return }
    #expect(words.message.contains("No module named numpy"))
  }

  @Test("above the memory share no worker is added and the largest idle one is drained")
  func memory() {
    let house = House()
    let worker = house.serve()
    house.take(house.roster.tick(now: house.now, memory: (own: 10, limit: 5)))
    #expect(house.drained == [worker])
    house.assign(2)
    #expect(house.spawned.count == 1)
    house.take(house.roster.closed(worker, now: house.now))
    house.pass(.seconds(1))
    #expect(house.spawned.count == 2)
  }

  @Test("a stop refuses what waits and lets what runs finish")
  func stops() {
    let house = House()
    let worker = house.serve()
    let (running, waiting) = (house.predict(), house.predict())
    house.take(house.roster.stop(now: house.now))
    #expect(code(house, waiting) == .unavailable)
    #expect(house.drained == [worker])
    house.answer(worker)
    #expect(isAnswered(house, running))
    house.take(house.roster.closed(worker, now: house.now))
    #expect(house.roster.isEmpty)
    #expect(code(house, house.predict()) == .unavailable)
  }
}
