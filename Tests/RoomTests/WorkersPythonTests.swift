import Core
import Foundation
import Testing
import Workers

@Suite(
  "Python workers", .serialized, .enabled(if: PythonWorkers.python != nil, PythonWorkers.absent))
struct WorkersPythonTests {
  @Test("a model is trained, loaded and asked")
  func trainsLoadsAndPredicts() async throws {
    try await PythonWorkers.withPool { pool, project in
      let artifact = try await project.artifact(pool)
      try await pool.ensureLoaded(artifact)
      #expect(try await pool.predict(3, 4) == [6, 8])
    }
  }

  @Test("a model that raises fails its own call, with the last line, and the worker lives on")
  func raises() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let before = pool.processIDs
      let error = await failure { try await pool.predict(-1) }
      #expect(error?.code == .userCode)
      #expect(error?.context["error"] == "ValueError: no such customer")
      #expect(try await pool.predict(1) == [2])
      #expect(pool.processIDs == before)
    }
  }

  @Test("a model that answers the wrong shape, or calls sys.exit, fails its own call")
  func wrongShape() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      #expect(await failure { try await pool.predict(-5) }?.code == .userCode)
      #expect(await failure { try await pool.predict(-6) }?.code == .userCode)
      #expect(try await pool.predict(1) == [2])
    }
  }

  @Test("a worker that ends during a task is replaced and the task is done once more")
  func exitsOnce() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      #expect(try await pool.predict(-7, 5) == [-14, 10])
    }
  }

  @Test("a task that costs two workers fails as unavailable, and the model is served again")
  func exitsTwice() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let error = await failure { try await pool.predict(-2) }
      #expect(error?.code == .unavailable)
      #expect(error?.message.contains("a prediction of doubler version 1") == true)
      #expect(try await pool.predict(1) == [2])
    }
  }

  @Test(
    "a worker that hangs with the interpreter's lock is killed and its place filled",
    arguments: [-3.0, -9])
  func hangs(x: Double) async throws {
    try await PythonWorkers.withPool {
      $0.heartbeatInterval = .milliseconds(100)
      $0.heartbeatTimeout = .milliseconds(1_500)
    } _: { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let error = await failure { try await pool.predict(x) }
      #expect(error?.code == .unavailable)
      #expect(error?.message.contains("heartbeat") == true)
      #expect(try await pool.predict(1) == [2])
    }
  }

  @Test("a passed deadline is told at once and costs the worker only when it goes on")
  func deadline() async throws {
    try await PythonWorkers.withPool {
      $0.predictPatience = .milliseconds(300)
    } _: { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let error = await failure { try await pool.predict(-8, timeout: .milliseconds(100)) }
      #expect(error?.code == .deadlineExceeded)
      #expect(try await pool.predict(1) == [2])
    }
  }

  @Test("what a model prints is logged with worker and model and does not disturb the protocol")
  func prints() async throws {
    let recorder = LogRecorder()
    try await PythonWorkers.withPool(logger: recorder.logger) { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      #expect(try await pool.predict(-4) == [-8])
      let line = await recorder.first(with: "hello from the model")
      #expect(line?.contains("logger=stdout") == true)
      #expect(line?.contains("model=doubler") == true)
      #expect(line?.contains("worker=w") == true)
      #expect(await recorder.first(with: "and from stderr")?.hasPrefix("warning") == true)
    }
  }

  @Test("an interpreter that does not start is told to those who wait, with its last words")
  func cannotStart() async throws {
    try await PythonWorkers.withPool {
      $0.pythonPath = ["/nowhere"]
    } _: { pool, project in
      let error = await failure {
        try await pool.run(.train(project.training()), timeout: .seconds(60))
      }
      #expect(error?.code == .unavailable)
      #expect(error?.message.contains("martlet_worker") == true)
    }
    try await PythonWorkers.withPool {
      $0.python = "/nowhere/python"
    } _: { pool, project in
      let error = await failure {
        try await pool.run(.train(project.training()), timeout: .seconds(60))
      }
      #expect(error?.message.contains("No such file") == true)
    }
  }

  @Test("an artifact that was changed is not loaded")
  func changedArtifact() async throws {
    try await PythonWorkers.withPool { pool, project in
      var artifact = try await project.artifact(pool)
      artifact.sha256 = String(repeating: "0", count: 64)
      #expect(await failure { try await pool.ensureLoaded(artifact) }?.code == .internalError)
      #expect(await failure { try await pool.predict(1) }?.code == .unavailable)
    }
  }

  @Test("the lines of a training reach its caller, and its failure names the reason")
  func trainingFails() async throws {
    try await PythonWorkers.withPool { pool, project in
      let (lines, said) = AsyncStream.makeStream(of: String.self)
      let task = try project.training(#"{"fail": true}"#)
      let error = await failure {
        try await pool.run(.train(task), timeout: .seconds(60)) { said.yield($0.message) }
      }
      #expect(error?.context["error"] == "RuntimeError: no label")
      said.finish()
      #expect(await lines.contains("training with 30 rows"))
    }
  }

  @Test("a cancelled training ends with its worker, and predictions go on meanwhile")
  func cancelledTraining() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let (lines, said) = AsyncStream.makeStream(of: String.self)
      let task = try project.training(#"{"wait": true}"#)
      let training = Task {
        try await pool.run(.train(task), timeout: .seconds(600)) { said.yield($0.message) }
      }
      _ = await lines.first { $0.hasPrefix("training") }
      #expect(try await pool.predict(2) == [4])
      training.cancel()
      #expect(await failure { try await training.value }?.code == .cancelled)
      #expect(pool.workers.allSatisfy { $0.role == "serving" })
    }
  }

  @Test("a transform maps columns to columns")
  func transforms() async throws {
    try await PythonWorkers.withPool { pool, project in
      let rows = ColumnBatch(columns: [Column(name: "x", values: .double([1, 2]))])
      let task = TransformTask(
        codePath: "\(project.directory)/train.py", function: "train.py:shout", rows: rows)
      let result = try await pool.run(.transform(task), timeout: .seconds(30))
      guard case .transformed(let transformed) = result.payload else { return }
      #expect(transformed.rows["x"]?.values == .double([2, 3]))
      #expect(transformed.errors.isEmpty)
    }
  }

  @Test("64 callers at once all get their own answers, from few processes")
  func manyCallers() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool), workers: 2)
      let wrong = try await withThrowingTaskGroup(of: Int.self) { group in
        for caller in 1...64 {
          group.addTask {
            var wrong = 0
            for call in 0..<50 {
              let x = Double(caller * 1_000 + call)
              if try await pool.predict(x) != [2 * x] { wrong += 1 }
            }
            return wrong
          }
        }
        return try await group.reduce(0, +)
      }
      #expect(wrong == 0)
      #expect(pool.processIDs.count <= 4)
    }
  }

  @Test("one bad row among many that wait fails alone")
  func badRowInBatch() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let outcomes = await withTaskGroup(of: (Int, Bool).self) { group in
        // The first keeps the worker busy, so that the others wait together.
        group.addTask { (0, await failure { try await pool.predict(-10) } == nil) }
        for caller in 1...20 {
          group.addTask {
            (caller, await failure { try await pool.predict(caller == 7 ? -1 : 1) } == nil)
          }
        }
        return await group.reduce(into: [Int: Bool]()) { $0[$1.0] = $1.1 }
      }
      #expect(outcomes.filter { !$0.value }.keys.sorted() == [7])
    }
  }

  @Test("a stop lets a running prediction finish")
  func drains() async throws {
    let answer = Answer()
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      answer.task = Task { try await pool.predict(-10) }
      _ = await failure { try await pool.predict(1) }
    }
    #expect(try await answer.task?.value == [-20])
  }

  @Test("a worker that is killed during a task is replaced and the task is done once more")
  func killedDuringTask() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      async let answer = pool.predict(-10)
      while !pool.workers.contains(where: { $0.state == "busy" }) { await Task.yield() }
      for pid in pool.processIDs { kill(pid, SIGKILL) }
      #expect(try await answer == [-20])
    }
  }

  @Test("a worker that ends is told of by its number, process and exit status, in error and status")
  func exitStatus() async throws {
    try await PythonWorkers.withPool { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      let first = try #require(pool.workers.first { $0.role == "serving" })
      let error = await failure { try await pool.predict(-2) }
      #expect(
        error?.message.contains(#/worker w\d+ \(pid \d+\) ended with exit status 7/#) == true,
        "\(error?.message ?? "")")
      #expect(try await pool.predict(1) == [2])
      let now = try #require(pool.workers.first { $0.role == "serving" })
      #expect(now.lastEnd?.hasSuffix("ended with exit status 7") == true, "\(now)")
      #expect(now.pid != nil && now.pid != first.pid)
    }
  }

  @Test("a worker that a signal ends is told of and logged with the signal's number and name")
  func exitSignal() async throws {
    let recorder = LogRecorder()
    try await PythonWorkers.withPool(logger: recorder.logger) { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      async let failed = failure {
        try await pool.run(.train(project.training(#"{"wait": true}"#)), timeout: .seconds(600))
      }
      var killed = Set<Int32>()
      while killed.count < 2 {
        let busy = pool.workers.first { $0.role == "general" && $0.state == "busy" }
        if let pid = busy?.pid, killed.insert(pid).inserted { kill(pid, SIGKILL) }
        await Task.yield()
      }
      let last = try #require(await failed)
      #expect(
        last.message.contains(#/worker w\d+ \(pid \d+\) ended with signal 9 \(killed\)/#),
        "\(last.message)")
      #expect(killed.contains { last.message.contains("(pid \($0))") })
      let line = await recorder.first(with: "ended with signal 9 (killed); it is replaced")
      #expect(line?.hasPrefix("warning") == true)
    }
  }

  @Test("a stop ends workers that do not finish")
  func stopIsFinal() async throws {
    let answer = Answer()
    try await PythonWorkers.withPool {
      $0.stopGrace = .milliseconds(200)
    } _: { pool, project in
      try await pool.ensureLoaded(project.artifact(pool))
      answer.task = Task { try await pool.predict(-8, timeout: .seconds(600)) }
      while !pool.workers.contains(where: { $0.state == "busy" }) { await Task.yield() }
    }
    #expect(await failure { try await answer.task?.value }?.code == .unavailable)
  }

  private final class Answer: @unchecked Sendable {
    var task: Task<[Double], any Error>?
  }
}
