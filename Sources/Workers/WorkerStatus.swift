/// One worker as status pages show it.
package struct WorkerStatus: Sendable, Equatable {
  package var id: String
  package var role: String
  /// What a worker on another machine calls itself; nil for a process of this one.
  package var remote: String?
  package var state: String
  package var models: [ModelKey]
  package var memory: Int
  /// The number of its process; nil until that is started.
  package var pid: Int32?
  /// What became of the worker before it in this place, where that was lost: "worker w3 (pid 812) ended with signal 9 (killed)".
  package var lastEnd: String?

  init?(_ slot: WorkerRoster.Slot) {
    guard let worker = slot.worker, let machine = slot.machine else { return nil }
    id = worker.description
    role = slot.role.rawValue
    remote = slot.remote
    state = machine.state.rawValue
    models = slot.assigned
    memory = slot.memory
    pid = slot.pid
    lastEnd = slot.lastEnd
  }
}
