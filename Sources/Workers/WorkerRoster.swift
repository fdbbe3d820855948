import Core
import NIOCore
import Wire

/// A call that waits for its answer.
package struct WorkItem: Sendable {
  package let id: UInt64
  package let task: WorkerTask
  package let queuedAt: Span
  package let deadline: Span
  package let priority: CallPriority
  package let say: (@Sendable (WorkerLogLine) -> Void)?
  package let reply: @Sendable (Result<WorkerAnswer, PlatformError>) -> Void
  /// How often a worker was lost with it.
  package var losses = 0
  /// Set when a batch that it was part of has failed: it must not fail others again.
  package var alone = false

  package init(
    id: UInt64, task: WorkerTask, queuedAt: Span, deadline: Span,
    priority: CallPriority = .normal, say: (@Sendable (WorkerLogLine) -> Void)? = nil,
    reply: @escaping @Sendable (Result<WorkerAnswer, PlatformError>) -> Void
  ) {
    self.id = id
    self.task = task
    self.queuedAt = queuedAt
    self.deadline = deadline
    self.priority = priority
    self.say = say
    self.reply = reply
  }
}

extension WorkItem {
  static let lostTwice = "lost_twice"
  static let ranTooLong = "ran_too_long"

  /// Whether a failure is the work's own: it has ended two workers, or kept one busy until its deadline.
  package static func isBlamed(for error: PlatformError) -> Bool {
    [lostTwice, ranTooLong].contains(error.context["reason"])
  }
}

/// The part of a worker's answer that belongs to one call.
package struct WorkerAnswer: Sendable {
  package var result: Martlet_Worker_V1_Result
  /// The first of the call's rows among the rows of the answer.
  package var firstRow: Int
  package var queue: Span
  package var worker: WorkerID
}

/// What a worker is doing: one task on the wire, for one call or for several predictions together.
package struct Flight: Sendable {
  package enum Work: Sendable {
    case items
    case load(ModelArtifact)
    case unload(ModelKey)
  }

  package let id: UInt64
  package var work: Work
  package var items: [WorkItem]
  package let sentAt: Span
  package let deadline: Span
}

/// Which workers there are, what each is doing, and what waits: a value that turns events into
/// effects.
///
/// Guarantees: a call is answered exactly once; a prediction runs only where its version is loaded;
/// a worker that serves never runs anything else, so training cannot delay predictions; a lone
/// request never waits for others; what is too late is never sent.
package struct WorkerRoster: Sendable {
  package enum Effect: Sendable {
    case spawn(WorkerID, Role)
    case welcome(WorkerID)
    case send(WorkerID, Flight)
    case askToDrain(WorkerID)
    case kill(WorkerID, WorkerStateMachine.Reason)
    case answer(WorkItem, Result<WorkerAnswer, PlatformError>)
    case loaded(LoadReply, Result<Void, PlatformError>)
    /// - Parameter end: what became of it, in words that name it.
    case restarted(WorkerID, WorkerStateMachine.Reason, end: String)
    /// `woken` is to be called at this time.
    case wake(at: Span)
    /// A model has another number of workers now.
    case scaled(ModelKey, workers: Int, grew: Bool, why: String)
    case warn(String)
  }

  package enum Role: String, Sendable {
    case serving, general
  }

  /// A supervised place for one process at a time.
  package struct Slot: Sendable {
    let role: Role
    var worker: WorkerID?
    var machine: WorkerStateMachine?
    /// In the order of assignment.
    var assigned: [ModelKey] = []
    var loaded: Set<ModelKey> = []
    var toUnload: [ModelKey] = []
    var flight: Flight?
    /// Ended processes in a row, and those of them that never said hello.
    var failures = 0
    var failedStarts = 0
    var spoke = false
    /// What the last process said before it ended.
    var lastWords = ""
    /// The number of its process, once it has been started.
    var pid: Int32?
    /// How its process ended, like "signal 9 (killed)"; nil while it runs.
    var ending: String?
    /// What became of the last worker of this place that was lost, for status pages.
    var lastEnd: String?
    var startAt: Span
    var spawnedAt: Span
    var idleSince: Span
    /// Not started again once its process is gone.
    var retired = false
    /// The process was lost with a prediction or a load: the version's fault, not the place's.
    var lostToVersion = false
    var memory = 0
    /// What a worker on another machine calls itself; nil for a process of this one.
    var remote: String?
    /// When its process was last ended for the memory that it took.
    var recycledAt: Span?

    var isReady: Bool { machine?.state == .ready }
  }

  /// A model version that workers were told to hold.
  package struct Assignment: Sendable {
    var artifact: ModelArtifact
    var waiting: [(id: UInt64, reply: LoadReply)] = []
    /// Workers that had it in hand when they were lost, while somebody waits.
    var losses = 0
    /// To be dropped as soon as nothing of it waits or runs.
    var leaving = false
    var suspension = Suspension()
    /// As many workers as were asked for.
    var asked = 1
  }

  package let configuration: WorkerConfiguration
  package let chance: @Sendable () -> Double
  package var slots: [Slot] = []
  package var models: [ModelKey: Assignment] = [:]
  /// Of every version that is assigned.
  package var calls: [ModelKey: ModelCalls] = [:]
  /// What the definitions say, by model.
  package var rules: [String: ServingDefinition] = [:]
  package var general = CircularBuffer<WorkItem>()
  var generalDrain = DrainRate()
  package var growthStopped = false
  /// Bytes below the limit of the memory, as of the last look; nil before it.
  var memoryLeft: Int?
  /// When `woken` is called next; nil where it need not be.
  var wakeAt: Span?
  package var stopping = false
  /// Workers of other machines are not taken any more.
  var remoteDismissed = false
  /// Nothing is spawned before the socket is open.
  package var listening = false
  private var nextWorker: UInt64 = 1
  private var nextTask: UInt64 = 1

  package init(_ configuration: WorkerConfiguration, chance: @escaping @Sendable () -> Double) {
    self.configuration = configuration
    self.chance = chance
  }

  package mutating func newWorker() -> WorkerID {
    defer { nextWorker += 1 }
    return WorkerID(number: nextWorker)
  }

  // MARK: Calls

  package mutating func submit(_ item: WorkItem, now: Span) -> [Effect] {
    if stopping {
      return [.answer(item, .failure(PlatformError(.unavailable, "the platform is stopping")))]
    }
    switch item.task {
    case .predict(let key, _): return submit(item, of: key, now: now)
    case .train, .transform:
      guard general.count < Limits.predictionQueue else {
        let wait = generalDrain.time(toAnswer: general.count, now: now)
        return [
          .answer(
            item, .failure(Self.overloaded("Python tasks", Limits.predictionQueue, after: wait)))
        ]
      }
      general.append(item)
      return advance(now: now)
    }
  }

  /// Forgets a call whose caller has gone; a training or transform that runs already ends with its
  /// worker.
  package mutating func cancel(_ id: UInt64, now: Span) -> [Effect] {
    let cancelled = Result<WorkerAnswer, PlatformError>.failure(
      PlatformError(.cancelled, "the caller went away"))
    for key in Array(calls.keys) {
      if let item = calls[key]?.queue.remove(id) { return [.answer(item, cancelled)] }
    }
    if let place = general.firstIndex(where: { $0.id == id }) {
      return [.answer(general.remove(at: place), cancelled)]
    }
    for index in slots.indices {
      guard let place = slots[index].flight?.items.firstIndex(where: { $0.id == id }),
        let item = slots[index].flight?.items[place]
      else { continue }
      // Rows of a batch are told apart by their place, so a prediction keeps its place and is
      // ignored later.
      guard slots[index].role == .general else {
        slots[index].flight?.items[place] = item.detached()
        return [.answer(item, cancelled)]
      }
      slots[index].flight?.items = []
      return [.answer(item, cancelled)]
        + handle(.end(.notNeeded, expected: true), at: index, now: now) + settle(now: now)
    }
    return []
  }

  // MARK: Answers

  package mutating func answered(
    _ worker: WorkerID, _ task: UInt64, _ outcome: Result<Martlet_Worker_V1_Result, TaskFault>,
    now: Span
  ) -> [Effect] {
    guard let index = index(of: worker), let flight = slots[index].flight, flight.id == task else {
      return []
    }
    slots[index].flight = nil
    slots[index].idleSince = now
    note(flight, isAnswered: (try? outcome.get()) != nil || flight.items.count == 1, now: now)
    var effects: [Effect] = []
    switch (flight.work, outcome) {
    case (.load(let artifact), .success):
      effects += loaded(artifact.key, at: index)
    case (.load(let artifact), .failure(let fault)):
      effects += loadFailed(artifact.key, at: index, fault, now: now)
    case (.unload(let key), _):
      slots[index].toUnload.removeAll { $0 == key }
      slots[index].loaded.remove(key)
    case (.items, .success(let result)):
      if let key = flight.predicted, models[key]?.suspension.isBlamed == true {
        models[key]?.suspension.forget()
      }
      effects += answers(to: flight, result, from: worker)
    case (.items, .failure(let fault)):
      effects += failed(flight, fault, at: index)
    }
    effects += handle(.answered(task: task), at: index, now: now)
    return effects + settle(now: now)
  }

  private func answers(
    to flight: Flight, _ result: Martlet_Worker_V1_Result, from worker: WorkerID
  ) -> [Effect] {
    var row = 0
    return flight.items.map { item in
      defer { row += item.rows }
      let answer = WorkerAnswer(
        result: result, firstRow: row, queue: flight.sentAt - item.queuedAt, worker: worker)
      return .answer(item, .success(answer))
    }
  }

  private mutating func failed(_ flight: Flight, _ fault: TaskFault, at index: Int) -> [Effect] {
    if case .notLoaded = fault.kind, case .predict(let key, _)? = flight.items.first?.task {
      // The worker knows better what it holds: it loads the version again.
      slots[index].loaded.remove(key)
      return retry(flight.items, because: fault.error)
    }
    if flight.items.count > 1 {
      // One row of a batch must not fail the others: each goes alone.
      return flight.items.reversed().filter { !$0.isDetached }.flatMap { item in
        var item = item
        item.alone = true
        return requeue(item)
      }
    }
    if case .runtime = fault.kind { return retry(flight.items, because: fault.error) }
    return flight.items.map { .answer($0, .failure(fault.error)) }
  }

  /// The same tasks once more, elsewhere if there is an elsewhere; a second loss reaches the
  /// caller.
  package mutating func retry(_ items: [WorkItem], because error: PlatformError) -> [Effect] {
    var effects: [Effect] = []
    for var item in items.reversed() where !item.isDetached {
      item.losses += 1
      item.alone = true
      if item.losses > 1 || stopping {
        var error = error
        if !stopping { error.context["reason"] = WorkItem.lostTwice }
        effects.append(.answer(item, .failure(error)))
      } else {
        effects += requeue(item)
      }
    }
    return effects
  }

  private mutating func requeue(_ item: WorkItem) -> [Effect] {
    switch item.task {
    case .predict(let key, _):
      guard calls[key] != nil else { return [.answer(item, .failure(Self.notLoaded(key)))] }
      calls[key]?.queue.prepend(item)
    case .train, .transform: general.prepend(item)
    }
    return []
  }

  // MARK: Work

  package mutating func send(_ items: [WorkItem], to index: Int, now: Span) -> [Effect] {
    noteSent(items, now: now)
    var deadline = items.reduce(Span(microseconds: 0)) { max($0, $1.deadline) }
    if slots[index].role == .serving {
      deadline = max(deadline, now + configuration.predictPatience)
    }
    return send(.items, items, to: index, deadline: deadline, now: now)
  }

  package mutating func send(
    _ work: Flight.Work, _ items: [WorkItem] = [], to index: Int, deadline: Span, now: Span
  ) -> [Effect] {
    guard let worker = slots[index].worker else { return [] }
    let flight = Flight(
      id: nextTask, work: work, items: items, sentAt: now, deadline: deadline)
    nextTask += 1
    slots[index].flight = flight
    slots[index].idleSince = now
    let effects = handle(.sent(task: flight.id, killAt: deadline), at: index, now: now)
    return effects + [.send(worker, flight)]
  }

  /// Gives an idle worker its next task, if there is one.
  package mutating func takeTask(_ index: Int, now: Span) -> [Effect] {
    guard slots[index].isReady, slots[index].flight == nil else { return [] }
    if let key = slots[index].toUnload.first {
      return send(.unload(key), to: index, deadline: now + configuration.loadTimeout, now: now)
    }
    if let artifact = nextToLoad(index, now: now) {
      return send(.load(artifact), to: index, deadline: now + configuration.loadTimeout, now: now)
    }
    switch slots[index].role {
    case .serving: return takePredictions(index, now: now)
    case .general:
      guard let item = nextGeneral() else { return [] }
      return send([item], to: index, now: now)
    }
  }

  /// The oldest task; a training only where another worker is left for transforms.
  private mutating func nextGeneral() -> WorkItem? {
    let training = slots.count { $0.flight?.items.first?.isTraining == true }
    let room = training < max(1, configuration.maxPythonWorkers - servingSlots - 1)
    guard let index = general.firstIndex(where: { room || !$0.isTraining }) else { return nil }
    return general.remove(at: index)
  }

  /// How many of the waiting general tasks could start now if there were workers enough.
  package var startableGeneral: Int {
    let training = slots.count { $0.flight?.items.first?.isTraining == true }
    let room = max(0, max(1, configuration.maxPythonWorkers - servingSlots - 1) - training)
    let trainings = general.count { $0.isTraining }
    return general.count - trainings + min(trainings, room)
  }

  /// On this machine.
  package var servingSlots: Int {
    slots.count { $0.role == .serving && !$0.retired && $0.remote == nil }
  }

  package func index(of worker: WorkerID) -> Int? { slots.firstIndex { $0.worker == worker } }

  // MARK: Messages

  static func notLoaded(_ key: ModelKey) -> PlatformError {
    PlatformError(
      .unavailable, "no worker holds \(key)", context: ["reason": "not_loaded"], retryable: true)
  }

  static func overloaded(_ what: String, _ bound: Int, after wait: Span) -> PlatformError {
    PlatformError(
      .overloaded,
      "\(bound) calls wait already for \(what); retry in \(wait), or allow more workers "
        + "(max_python_workers; serving.workers of the model)", retryAfter: wait)
  }
}

extension WorkItem {
  package var rows: Int {
    if case .predict(_, let rows) = task { rows.count } else { 1 }
  }

  package var isTraining: Bool { if case .train = task { true } else { false } }

  /// The same place in a batch, whose answer nobody reads.
  package func detached() -> WorkItem {
    WorkItem(
      id: 0, task: task, queuedAt: queuedAt, deadline: deadline, priority: priority,
      reply: { _ in })
  }

  package var isDetached: Bool { id == 0 }

  /// Whether both have the same columns, so that their rows can be sent as one table.
  package func fits(beside other: WorkItem) -> Bool {
    guard case .predict(_, let mine) = task, case .predict(_, let theirs) = other.task,
      mine.columns.count == theirs.columns.count
    else { return false }
    return zip(mine.columns, theirs.columns).allSatisfy { $0.name == $1.name && $0.type == $1.type }
  }
}

extension Span {
  static func + (a: Span, b: Span) -> Span { Span(microseconds: a.microseconds + b.microseconds) }
  static func - (a: Span, b: Span) -> Span { Span(microseconds: a.microseconds - b.microseconds) }
}

/// A worker's fault, sorted by what is done about it.
package struct TaskFault: Error {
  package enum Kind {
    /// The user's code or model: the same again would fail again.
    case final
    case notLoaded
    /// The worker itself: another may do better.
    case runtime
  }

  package var kind: Kind
  package var error: PlatformError

  package init(_ kind: Kind, _ error: PlatformError) {
    self.kind = kind
    self.error = error
  }

  package init(_ fault: Martlet_Worker_V1_Fault, worker: WorkerID) {
    var context = ["worker": worker.description]
    if !fault.tracebackLastLine.isEmpty { context["error"] = fault.tracebackLastLine }
    if !fault.traceback.isEmpty { context["traceback"] = fault.traceback }
    let code: ErrorCode
    switch fault.kind {
    case .userError, .badOutput, .libraryMissing: (kind, code) = (.final, .userCode)
    case .deadline:
      (kind, code) = (.final, .deadlineExceeded)
      context["reason"] = WorkItem.ranTooLong
    case .notLoaded: (kind, code) = (.notLoaded, .unavailable)
    case .internal, .unspecified, .UNRECOGNIZED: (kind, code) = (.runtime, .internalError)
    }
    error = PlatformError(code, fault.message, context: context)
  }
}
