import Core
import Testing
import Workers

@Suite("Worker scaling")
struct WorkersScalingTests {
  /// One look and what is decided.
  struct Step: Sendable {
    var second: Int64
    var wait: Span
    var busy = 0.5
    var workers: Int
    var ready: Int?
    var decision: String
  }

  private static func step(
    _ second: Int64, _ wait: Int64, busy: Double = 0.5, _ workers: Int, ready: Int? = nil,
    _ decision: String = "stay"
  ) -> Step {
    Step(
      second: second, wait: .milliseconds(wait), busy: busy, workers: workers, ready: ready,
      decision: decision)
  }

  /// Limit 50 ms, 1 to 3 workers; grow after 3 s, shrink after 60 s, rest 10 s.
  private static let table: [(String, [Step])] = [
    (
      "a wait above the limit must last before a worker is added",
      [step(0, 80, 1), step(1, 80, 1), step(2, 80, 1), step(3, 80, 1, "grow")]
    ),
    (
      "a wait that falls below the limit in between begins anew",
      [step(0, 80, 1), step(2, 30, 1), step(3, 80, 1), step(5, 80, 1), step(6, 80, 1, "grow")]
    ),
    (
      "after a change nothing changes for a while",
      [
        step(0, 80, 1), step(3, 80, 1, "grow"), step(4, 80, 2), step(12, 80, 2), step(13, 80, 2),
        step(16, 80, 2, "grow"),
      ]
    ),
    (
      "never above the maximum",
      [step(0, 80, 3), step(3, 80, 3), step(30, 80, 3)]
    ),
    (
      "a worker that is still loading, or was lost, comes before another one",
      [step(0, 80, 2, ready: 1), step(10, 80, 2, ready: 1), step(11, 80, 2, "grow")]
    ),
    (
      "between the limits nothing changes, however long",
      [step(0, 20, 2), step(100, 49, 2), step(1_000, 13, 2)]
    ),
    (
      "one is taken away when calls hardly wait for long and the others can do it",
      [
        step(0, 1, busy: 0.2, 3), step(59, 1, busy: 0.2, 3), step(60, 1, busy: 0.2, 3, "shrink"),
        step(61, 1, busy: 0.3, 2), step(70, 1, busy: 0.3, 2), step(131, 1, busy: 0.3, 2, "shrink"),
      ]
    ),
    (
      "none is taken away that is needed",
      [step(0, 1, busy: 0.5, 2), step(600, 1, busy: 0.5, 2)]
    ),
    (
      "never below the minimum",
      [step(0, 0, busy: 0, 1), step(600, 0, busy: 0, 1)]
    ),
    (
      "a changed definition is followed at once",
      [step(0, 20, 4, "shrink"), step(1, 20, 0, "grow")]
    ),
  ]

  @Test("the number of workers follows the waits with hysteresis", arguments: table.indices)
  func decides(row: Int) {
    let (name, steps) = Self.table[row]
    var rule = ServingDefinition.Workers()
    rule.maximum = 3
    var scaling = WorkerScaling()
    for step in steps {
      let look = WorkerScaling.Look(
        wait: step.wait, busy: step.busy, workers: step.workers, ready: step.ready ?? step.workers)
      let decision = scaling.judge(look, rule, maximum: 3, now: .seconds(1_000 + step.second))
      let word: String
      switch decision {
      case .stay: word = "stay"
      case .grow: word = "grow"
      case .shrink: word = "shrink"
      }
      #expect(word == step.decision, "\(name), second \(step.second)")
    }
  }

  @Test("a load that stays does not make the number swing")
  func doesNotSwing() {
    // Work for 1.5 workers: one makes calls wait, two do not.
    var rule = ServingDefinition.Workers()
    rule.maximum = 4
    var scaling = WorkerScaling()
    var workers = 1
    var changes = 0
    for second in Int64(0)..<3_600 {
      let busy = min(1, 1.5 / Double(workers))
      let look = WorkerScaling.Look(
        wait: workers < 2 ? .seconds(2) : .milliseconds(2), busy: busy, workers: workers,
        ready: workers)
      switch scaling.judge(look, rule, maximum: 4, now: .seconds(second)) {
      case .grow: (workers, changes) = (workers + 1, changes + 1)
      case .shrink: (workers, changes) = (workers - 1, changes + 1)
      case .stay: break
      }
    }
    #expect(workers == 2)
    #expect(changes == 1)
  }

  @Test("the percentile counts calls that still wait, and the share is of all workers' time")
  func samples() {
    var samples = WaitSamples()
    _ = samples.take(waiting: [], workers: 2, now: .seconds(10))
    for milliseconds in Int64(1)...100 { samples.note(waited: .milliseconds(milliseconds)) }
    samples.note(busy: .milliseconds(500))
    let first = samples.take(waiting: [], workers: 2, now: .seconds(11))
    #expect(first.wait == .milliseconds(96))
    #expect(first.busy == 0.25)
    let stuck = samples.take(waiting: [.seconds(11)], workers: 2, now: .seconds(15))
    #expect(stuck.wait == .seconds(4))
    #expect(samples.take(waiting: [], workers: 2, now: .seconds(16)).wait == .milliseconds(0))
  }
}
