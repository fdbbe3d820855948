import Core
import Foundation
import Logging
import ServiceLifecycle
import Synchronization
import Testing
import Workers

/// Real Python workers for tests: the interpreter, a project folder, and a pool that runs for the
/// length of a closure.
enum PythonWorkers {
  static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path

  static let python: String? = {
    let given = ProcessInfo.processInfo.environment["MARTLET_PYTHON"]
    let own = "\(repository)/.venv/bin/python"
    return given ?? (FileManager.default.isExecutableFile(atPath: own) ? own : nil)
  }()

  static let absent: Comment = "no Python environment: set MARTLET_PYTHON, or run dev/bootstrap"

  static func configuration(
    in directory: String, _ change: (inout WorkerConfiguration) -> Void = { _ in }
  ) -> WorkerConfiguration {
    var configuration = WorkerConfiguration(
      python: python ?? "python3", pythonPath: ["\(repository)/python"], directory: directory,
      maxPythonWorkers: 4, heartbeatInterval: .milliseconds(200),
      backoff: RestartBackoff(first: .milliseconds(20)))
    change(&configuration)
    return configuration
  }

  /// Runs a pool in a new folder; afterwards no process of it is left.
  static func withPool(
    logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
    _ change: (inout WorkerConfiguration) -> Void = { _ in },
    _ body: (WorkerPool, PythonProject) async throws -> Void
  ) async throws {
    let project = try PythonProject()
    defer { project.remove() }
    let pool = WorkerPool(
      configuration(in: project.directory) { configuration in
        configuration.environment["MARKS"] = project.directory
        change(&configuration)
      }, logger: logger, chance: { 0.5 })
    let services = ServiceGroup(
      configuration: .init(services: [pool], logger: Logger(label: "test")))
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await services.run() }
      let outcome: Result<Void, any Error>
      do {
        try await body(pool, project)
        outcome = .success(())
      } catch {
        outcome = .failure(error)
      }
      await services.triggerGracefulShutdown()
      try await group.waitForAll()
      try outcome.get()
    }
    #expect(pool.processIDs.isEmpty, "no process may be left")
  }
}

/// A folder with a training function whose model does to order what bad models do.
struct PythonProject: Sendable {
  let directory: String

  /// The value of `x` decides what the model does; anything else answers 2x.
  static let code = """
    import ctypes, os, signal, sys, time
    import numpy as np

    HOARD = []

    class Model:
        factor = 2.0

        def predict(self, columns):
            x = columns["x"]
            for value in x:
                if value == -1: raise ValueError("no such customer")
                if value == -2: os._exit(7)
                if value == -3:
                    ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock
                if value == -4:
                    print("hello from the model")
                    print("and from stderr", file=sys.stderr)
                if value == -5: return np.zeros(len(x) + 3)
                if value == -6: sys.exit(1)
                if value == -7:
                    path = os.path.join(os.environ["MARKS"], "once")
                    if not os.path.exists(path):
                        open(path, "w").close()
                        os._exit(9)
                if value == -8: time.sleep(600)
                if value == -9: os.kill(os.getpid(), signal.SIGSTOP)
                if value == -10: time.sleep(0.3)
                if value == -11: HOARD.append(b"x" * (600 << 20))
            return np.asarray(x, dtype=float) * self.factor

    def train(dataset, context):
        context.log("training with " + str(dataset.train.rows) + " rows")
        if context.params.get("wait"):
            time.sleep(600)
        if context.params.get("fail"):
            raise RuntimeError("no label")
        context.metrics["answer"] = 42
        model = Model()
        model.factor = float(context.params.get("factor", 2))
        return model

    def shout(rows):
        return {"x": np.asarray(rows["x"]) + 1}
    """

  init() throws {
    directory = "/tmp/martlet-test-\(UInt64.random(in: .min ... .max))"
    try FileManager.default.createDirectory(
      atPath: directory, withIntermediateDirectories: true)
    try Self.code.write(toFile: "\(directory)/train.py", atomically: true, encoding: .utf8)
  }

  func remove() { try? FileManager.default.removeItem(atPath: directory) }

  func training(_ options: String = "{}") throws -> TrainingTask {
    let path = "\(directory)/set-\(UInt64.random(in: .min ... .max)).columns"
    var file = try DatasetFile(creatingAt: path)
    let x = (0..<40).map { Double($0) }
    let batch = ColumnBatch(columns: [
      Column(name: "x", values: .double(x)),
      Column(name: "y", values: .double(x.map { $0 * 2 })),
      Column(name: "event_timestamp", values: .timestamp((0..<40).map { Int64($0) })),
    ])
    try file.append(batch)
    try file.close()
    return TrainingTask(
      runPath: "train.py", function: "train.py:train", workingDirectory: directory,
      datasetPath: path, features: ["x"], label: "y", options: options,
      outputDirectory: "\(directory)/artifacts", evaluationFrom: 30)
  }

  /// Trains the model and tells where its artifact is.
  func artifact(
    _ pool: WorkerPool, version: Int64 = 1, factor: Double = 2
  ) async throws -> ModelArtifact {
    let options = #"{"factor": \#(factor)}"#
    let result = try await pool.run(.train(training(options)), timeout: .seconds(60))
    guard case .trained(let trained) = result.payload else {
      throw PlatformError(.internalError, "not trained")
    }
    return ModelArtifact(
      key: ModelKey(model: "doubler", version: version), path: trained.artifactPath,
      sha256: trained.sha256, format: trained.format, features: ["x"])
  }
}

extension WorkerPool {
  static let doubler = ModelKey(model: "doubler", version: 1)

  func predict(
    _ x: Double..., model: ModelKey = doubler, timeout: Span = .seconds(20)
  ) async throws -> [Double] {
    let rows = ColumnBatch(columns: [Column(name: "x", values: .double(x))])
    let result = try await run(.predict(model, rows: rows), timeout: timeout)
    guard case .predicted(let values) = result.payload else { return [] }
    return values
  }
}

/// Log lines that a test waits for.
final class LogRecorder: Sendable {
  private let stream: AsyncStream<String>
  private let continuation: AsyncStream<String>.Continuation
  private let all = Mutex<[String]>([])

  init() { (stream, continuation) = AsyncStream.makeStream(of: String.self) }

  var logger: Logger {
    Logger(label: "test") { _ in RecordingHandler(record: { [self] in add($0) }) }
  }

  var lines: [String] { all.withLock { $0 } }

  /// Waits for a line that contains the text.
  func first(with text: String) async -> String? {
    for await line in stream where line.contains(text) { return line }
    return nil
  }

  private func add(_ line: String) {
    all.withLock { $0.append(line) }
    continuation.yield(line)
  }
}

private struct RecordingHandler: LogHandler {
  let record: @Sendable (String) -> Void
  var metadata: Logger.Metadata = [:]
  var logLevel = Logger.Level.trace

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let pairs = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
    record("\(event.level) \(event.message) \(pairs.joined(separator: " "))")
  }
}

/// The error of a call that is expected to fail.
func failure<Answer>(_ body: () async throws -> Answer) async -> PlatformError? {
  do {
    _ = try await body()
    return nil
  } catch {
    return error as? PlatformError
  }
}
