import Core
import Foundation
import Synchronization
import Testing
import Workers

/// A pool under load while its processes are killed, stopped, swollen and slowed: each with the promised outcome.
@Suite(
  "Workers under attack", .serialized,
  .enabled(if: PythonWorkers.python != nil, PythonWorkers.absent))
struct WorkersChaosTests {
  @Test("workers that are killed under load cost no caller anything")
  func killed() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let load = ChaosLoad(pool)
      let killed = try await load.during {
        var killed: [Int32] = []
        for _ in 0..<5 {
          // Nobody is to lose two workers: every call from before the last kill is answered by then.
          await load.answers(more: 300)
          await pool.until { $0.serving.count == 2 && $0.serving.allSatisfy(\.isUp) }
          let victim = try #require(pool.serving.first?.pid)
          #expect(kill(victim, SIGKILL) == 0)
          killed.append(victim)
          await pool.until { !$0.serving.contains { $0.pid == victim } }
        }
        return killed
      }
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
      #expect(pool.serving.allSatisfy { !killed.contains($0.pid ?? 0) })
    }
  }

  @Test("a worker that is stopped under load is killed and replaced, and nobody hangs")
  func stopped() async throws {
    try await PythonWorkers.withPool {
      $0.heartbeatInterval = .milliseconds(100)
      $0.heartbeatTimeout = .milliseconds(1_500)
    } _: { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let load = ChaosLoad(pool)
      try await load.during {
        await load.answers(more: 300)
        let victim = try #require(pool.serving.first?.pid)
        #expect(kill(victim, SIGSTOP) == 0)
        // Calls go on beside it, and then it is gone for good.
        await load.answers(more: 300)
        await pool.until { !$0.processIDs.contains(victim) }
        await pool.until { $0.serving.count == 2 && $0.serving.allSatisfy(\.isUp) }
        await load.answers(more: 300)
      }
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
    }
  }

  @Test("a worker that swells under load is started anew, and its callers notice nothing")
  func swollen() async throws {
    let recorder = LogRecorder()
    let limit = ChaosLoad.ownMemory + 700 << 20
    try await PythonWorkers.withPool(logger: recorder.logger) {
      $0.memoryShare = Double(limit) / Double(ProcessInfo.processInfo.physicalMemory)
    } _: { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let load = ChaosLoad(pool)
      try await load.during {
        await load.answers(more: 100)
        let before = Set(pool.serving.compactMap(\.pid))
        let swollen = try await pool.predict(-11)
        #expect(swollen == [-22])
        let line = await recorder.first(with: "is started anew")
        #expect(line?.hasPrefix("warning") == true)
        await pool.until { !Set($0.serving.compactMap(\.pid)).isSuperset(of: before) }
        await pool.until { $0.serving.count == 2 && $0.serving.allSatisfy(\.isUp) }
        await load.answers(more: 300)
        #expect(pool.serving.reduce(0) { $0 + $1.memory } < 700 << 20)
      }
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
    }
  }

  @Test("slow calls meet their own deadlines, and cost neither other calls nor workers")
  func slow() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let before = Set(pool.serving.compactMap(\.pid))
      let load = ChaosLoad(pool)
      let late = try await load.during {
        var late = 0
        for _ in 0..<5 {
          await load.answers(more: 20)
          let error = await failure { try await pool.predict(-10, timeout: .milliseconds(50)) }
          if error?.code == .deadlineExceeded { late += 1 }
        }
        return late
      }
      #expect(late == 5)
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
      #expect(Set(pool.serving.compactMap(\.pid)) == before)
    }
  }

  @Test("fifty versions that replace each other under load: no call fails, none is mixed up")
  func reloads() async throws {
    try await PythonWorkers.withPool { pool, project in
      let artifacts = try await [1.0, 3].enumerated().asyncMap { place, factor in
        try await project.artifact(pool, version: Int64(place + 1), factor: factor)
      }
      @Sendable func artifact(_ version: Int64) -> ModelArtifact {
        var artifact = artifacts[Int(version % 2)]
        artifact.key.version = version
        return artifact
      }
      try await pool.ensureLoaded(artifact(1))
      let load = ChaosLoad(pool) { $0 % 2 == 0 ? 1 : 3 }
      try await load.during {
        for version in Int64(2)...51 {
          try await pool.ensureLoaded(artifact(version))
          load.version = version
          pool.unload(ModelKey(model: "doubler", version: version - 1))
          await load.answers(more: 32)
        }
      }
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
      #expect(pool.processIDs.count <= 4)
    }
  }

  @Test(
    "transforms, trainings and predictions at once: a killed worker of any kind fails none of them")
  func mixed() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let load = ChaosLoad(pool)
      let rows = ColumnBatch(columns: [Column(name: "x", values: .double([1, 2]))])
      let transform = TransformTask(
        codePath: "\(project.directory)/train.py", function: "train.py:shout", rows: rows)
      let done = try await load.during {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<4 {
            group.addTask {
              _ = try await pool.run(.train(project.training()), timeout: .seconds(120))
            }
          }
          for _ in 0..<40 {
            group.addTask {
              _ = try await pool.run(.transform(transform), timeout: .seconds(120))
            }
          }
          await pool.until { pool in pool.workers.contains { $0.role == "general" && $0.isUp } }
          for role in ["general", "serving"] {
            if let pid = pool.workers.first(where: { $0.role == role && $0.isUp })?.pid {
              kill(pid, SIGKILL)
            }
          }
          return try await group.reduce(0) { count, _ in count + 1 }
        }
      }
      #expect(done == 44)
      #expect(load.failures.isEmpty, "\(load.failures)")
      #expect(load.wrong == 0)
    }
  }

  @Test("a load that one worker cannot carry gets a second one, and loses it when it is over")
  func scales() async throws {
    let recorder = LogRecorder()
    try await PythonWorkers.withPool(logger: recorder.logger) {
      $0.scaling.growAfter = .seconds(1)
      $0.scaling.shrinkAfter = .seconds(1)
      $0.scaling.rest = .milliseconds(100)
    } _: { pool, project in
      var rule = ServingDefinition()
      rule.batch.rows = 1
      rule.workers.maximum = 2
      rule.workers.queueWait = .milliseconds(2)
      pool.follow(["doubler": rule])
      try await pool.ensureLoaded(project.artifact(pool))
      let load = ChaosLoad(pool)
      try await load.during {
        let line = await recorder.first(with: "gets one worker more, 2 now")
        #expect(line?.contains("95th percentile") == true, "\(line ?? "")")
        await pool.until { $0.serving.count == 2 && $0.serving.allSatisfy(\.isUp) }
      }
      let line = await recorder.first(with: "gets one worker less, 1 now")
      #expect(line?.hasPrefix("info") == true)
      await pool.until { $0.serving.count == 1 }
      #expect(try await pool.predict(4) == [8])
      #expect(load.failures.isEmpty, "\(load.failures)")
    }
  }
}

/// Callers that predict as fast as they are answered, until they are told to stop.
final class ChaosLoad: Sendable {
  private struct State {
    var version: Int64 = 1
    var answers = 0
    var wrong = 0
    var failures: [String] = []
    var isOver = false
  }

  private static let callers = 32

  private let pool: WorkerPool
  private let factor: @Sendable (Int64) -> Double
  private let state = Mutex(State())

  /// - Parameter factor: what a version multiplies by.
  init(_ pool: WorkerPool, factor: @escaping @Sendable (Int64) -> Double = { _ in 2 }) {
    self.pool = pool
    self.factor = factor
  }

  var version: Int64 {
    get { state.withLock { $0.version } }
    set { state.withLock { $0.version = newValue } }
  }

  var wrong: Int { state.withLock { $0.wrong } }
  var failures: [String] { state.withLock { Array($0.failures.prefix(5)) } }

  static var ownMemory: Int {
    let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
    let pages = text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
    return pages * Int(sysconf(Int32(_SC_PAGESIZE)))
  }

  /// Runs the closure under load; returns when every caller has its last answer.
  func during<Answer: Sendable>(
    _ body: @escaping @Sendable () async throws -> Answer
  ) async throws -> Answer {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for caller in 0..<Self.callers { group.addTask { await self.call(caller) } }
      let outcome: Result<Answer, any Error>
      do {
        outcome = .success(try await body())
      } catch {
        outcome = .failure(error)
      }
      state.withLock { $0.isOver = true }
      try await group.waitForAll()
      return try outcome.get()
    }
  }

  /// Waits until so many further calls were answered, well or not.
  func answers(more count: Int) async {
    let goal = state.withLock { $0.answers } + count
    while state.withLock({ $0.answers }) < goal { await Task.yield() }
  }

  private func call(_ caller: Int) async {
    var number = 0
    while !state.withLock({ $0.isOver }) {
      number += 1
      let x = Double(caller * 100_000 + number % 100_000)
      let version = version
      do {
        let key = ModelKey(model: "doubler", version: version)
        let values = try await pool.predict(x, model: key, timeout: .seconds(60))
        let isRight = values == [x * factor(version)]
        state.withLock { state in
          state.answers += 1
          if !isRight { state.wrong += 1 }
        }
      } catch let error as PlatformError where error.context["reason"] == "not_loaded" {
        // It was replaced between the look at the version and the call, as the predictor sees it, too.
        continue
      } catch {
        state.withLock { state in
          state.answers += 1
          state.failures.append("\(error)")
        }
      }
    }
  }
}

extension WorkerPool {
  var serving: [WorkerStatus] { workers.filter { $0.role == "serving" } }

  func until(_ holds: @Sendable (WorkerPool) -> Bool) async {
    while !holds(self) { await Task.yield() }
  }
}

extension WorkerStatus {
  /// It takes tasks.
  var isUp: Bool { state == "ready" || state == "busy" }
}

extension Sequence {
  fileprivate func asyncMap<Result>(
    _ body: (Element) async throws -> Result
  ) async rethrows -> [Result] {
    var results: [Result] = []
    for element in self { results.append(try await body(element)) }
    return results
  }
}
