import Core
import Foundation
import Logging
import Metrics
import Wire

/// What happens by the passing of time, and the end.
extension WorkerPool {
  /// One look at everything: deadlines, heartbeats, memory, output and ended processes.
  package func tickOnce() {
    let now = clock.now()
    reapAndListen(now)
    let isDue = apply { state -> (Bool, [WorkerRoster.Effect]) in
      // After a standstill of the platform itself, heartbeats wait in the sockets: nobody is to blame.
      let stoodStill = now - (state.tickedAt ?? now) > .seconds(1)
      state.tickedAt = now
      if stoodStill { state.roster.excuse(now: now) }
      let isDue = now - state.judgedAt >= Self.memoryEvery
      if isDue { state.judgedAt = now }
      let limit = Int(Double(MachineMemory.total) * configuration.memoryShare)
      let memory = isDue ? (own: MachineMemory.own, limit: limit) : nil
      return (isDue, state.roster.tick(now: now, memory: memory))
    }
    if isDue { report() }
  }

  private func report() {
    let states = state.withLock { $0.roster.slots.compactMap { $0.machine?.state } }
    for (state, gauge) in gauges { gauge.record(states.count { $0 == state }) }
    let (workers, waiting, gone) = state.withLock { state in
      let (workers, waiting) = state.roster.load
      let gone = state.reported.subtracting(workers.keys)
      state.reported = Set(workers.keys)
      return (workers, waiting, gone)
    }
    for model in workers.keys.sorted() + gone.sorted() {
      let dimensions = [("model", model)]
      Gauge(label: "martlet_model_workers", dimensions: dimensions).record(workers[model] ?? 0)
      Gauge(label: "martlet_model_waiting_calls", dimensions: dimensions)
        .record(waiting[model] ?? 0)
    }
  }

  private func reapAndListen(_ now: Span) {
    let handles = state.withLock { state in
      // Out of the roster means killed or drained: only reaping is left.
      let gone = state.handles.values.filter { state.roster.index(of: $0.id) == nil }
      for handle in gone { state.handles[handle.id] = nil }
      state.ending += gone.filter { $0.link == nil }
      return Array(state.handles.values) + state.ending
    }
    for handle in handles { attend(handle, now: now) }
  }

  /// Forwards what a process has written and tells the roster of its end; true where this found it ended.
  @discardableResult
  func attend(_ handle: WorkerHandle, now: Span) -> Bool {
    guard let process = handle.process else { return false }
    let ending = process.reap()
    for line in process.lines() {
      logger.warning("\(line)", metadata: ["worker": "\(handle.id)", "stream": "stderr"])
    }
    guard let ending else { return false }
    logger.debug(
      "a worker has ended with \(ending)",
      metadata: ["worker": "\(handle.id)", "pid": "\(process.pid)"])
    let words = process.lastWords.isEmpty ? ending : "\(process.lastWords) (\(ending))"
    apply { state in
      state.handles[handle.id] = nil
      state.ending.removeAll { $0.id == handle.id }
      return state.roster.exited(handle.id, ending: ending, lastWords: words, now: now)
    }
    return true
  }

  /// Asks every worker to finish, then tells them, then kills them; returns when all are reaped.
  func stop() async {
    let begin = clock.now()
    apply { $0.roster.stop(now: begin) }
    if !Task.isCancelled { await tick(until: begin + configuration.stopGrace) }
    if !isQuiet, !Task.isCancelled {
      signalAll(SIGTERM)
      await tick(until: clock.now() + .seconds(1))
    }
    if !isQuiet {
      for handle in allHandles { handle.kill() }
      await tick(until: clock.now() + .seconds(5))
    }
    if !isQuiet { logger.error("a Python process did not end although it was killed") }
  }

  private var allHandles: [WorkerHandle] {
    state.withLock { Array($0.handles.values) + $0.ending }
  }

  private var isQuiet: Bool { state.withLock { $0.handles.isEmpty && $0.ending.isEmpty } }

  private func signalAll(_ number: Int32) {
    for handle in allHandles { handle.process?.signal(number) }
  }

  private func tick(until end: Span) async {
    while true {
      tickOnce()
      if isQuiet || clock.now() >= end { return }
      // A cancelled task cannot sleep; what is left then is the moment between a kill and its
      // effect.
      if Task.isCancelled { usleep(2_000) } else { try? await clock.sleep(.milliseconds(10)) }
    }
  }

  // MARK: Output

  /// Forwards a line to the log with the model that it belongs to, and to the caller that wants its
  /// task's lines.
  func said(_ worker: WorkerID, _ line: Martlet_Worker_V1_Log) {
    let flight = state.withLock { state in
      state.roster.index(of: worker).flatMap { state.roster.slots[$0].flight }
    }
    var metadata: Logger.Metadata = ["worker": "\(worker)", "logger": "\(line.logger)"]
    let own = flight.flatMap { String($0.id) == line.taskID ? $0 : nil }
    if let model = own?.model { metadata["model"] = "\(model)" }
    let level = WorkerLogLine.Level(line.level)
    logger.log(level: level.forLog, "\(line.message)", metadata: metadata)
    let said = WorkerLogLine(level: level, logger: line.logger, message: line.message)
    for item in own?.items ?? [] { item.say?(said) }
  }
}

extension Flight {
  fileprivate var model: String? {
    switch work {
    case .load(let artifact): return artifact.key.model
    case .unload(let key): return key.model
    case .items:
      if case .predict(let key, _)? = items.first?.task { return key.model }
      return nil
    }
  }
}

extension WorkerLogLine.Level {
  fileprivate init(_ level: Martlet_Worker_V1_Log.Level) {
    self =
      switch level {
      case .debug: .debug
      case .warning: .warning
      case .error: .error
      case .info, .unspecified, .UNRECOGNIZED: .info
      }
  }

  fileprivate var forLog: Logger.Level {
    switch self {
    case .debug: .debug
    case .info: .info
    case .warning: .warning
    case .error: .error
    }
  }
}

/// The memory of this process and of the machine, in bytes.
enum MachineMemory {
  /// What the machine has, or what the container may take where that is less.
  static let total: Int = {
    let physical = Int(clamping: ProcessInfo.processInfo.physicalMemory)
    let limit = (try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8))
      .flatMap { Int($0.trimmingCharacters(in: .whitespacesAndNewlines)) }
    return min(physical, limit ?? physical)
  }()

  static var own: Int {
    guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8) else {
      return 0
    }
    let fields = text.split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE))) : 0
  }
}
