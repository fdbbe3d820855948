import Foundation
import Synchronization

/// Waits for what no event announces, looking every few milliseconds: the only place where tests sleep.
///
/// The deadline is generous and never part of what a test asserts; passing it is an error that says what did not happen.
package func waitUntil(
  _ what: String, within limit: Duration = .seconds(60),
  _ isTrue: () async throws -> Bool
) async throws {
  let clock = ContinuousClock()
  let deadline = clock.now + limit
  while try await !isTrue() {
    guard clock.now < deadline else { throw Disappointment("\(limit) passed before \(what)") }
    try await Task.sleep(for: .milliseconds(5))
  }
}

/// Something that a test relied on did not happen.
package struct Disappointment: Error, CustomStringConvertible {
  package var description: String

  package init(_ description: String) { self.description = description }
}

/// What a finished program left.
package struct ProgramResult: Sendable, CustomStringConvertible {
  /// The exit status, or 128 and the signal's number as in a shell.
  package var status: Int32
  package var output: String
  package var errors: String

  package var description: String { "status \(status)\n\(output)\(errors)" }
}

/// A program that a test started, in a process group of its own, so that its children end with it.
package final class ChildProgram: Sendable {
  package let pid: pid_t
  private let ended = Mutex<Int32?>(nil)

  /// - Parameters:
  ///   - environment: all of it; nothing is inherited.
  ///   - input: a file for standard input; nothing to read otherwise.
  package init(
    _ executable: String, _ arguments: [String], environment: [String: String], directory: String,
    input: String = "/dev/null", output: String, errors: String
  ) throws {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let append = O_WRONLY | O_CREAT | O_APPEND
    posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
    posix_spawn_file_actions_addopen(&actions, 1, output, append, 0o600)
    posix_spawn_file_actions_addopen(&actions, 2, errors, append, 0o600)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK))
    var pid: pid_t = 0
    // `env` changes the folder and then becomes the program.
    let command = ["env", "-C", directory, executable] + arguments
    let status = withCStrings(command) { arguments in
      withCStrings(environment.map { "\($0)=\($1)" }) { environment in
        posix_spawn(&pid, "/usr/bin/env", &actions, &attributes, arguments, environment)
      }
    }
    guard status == 0 else {
      throw Disappointment("\(executable) did not start: \(String(cString: strerror(status)))")
    }
    self.pid = pid
    Thread.detachNewThread { [self] in
      var status: Int32 = 0
      while waitpid(self.pid, &status, 0) == -1, errno == EINTR {}
      let signal = status & 0x7F
      ended.withLock { $0 = signal == 0 ? (status >> 8) & 0xFF : 128 + signal }
    }
  }

  /// Nil while it runs.
  package var status: Int32? { ended.withLock { $0 } }

  package func send(_ signal: Int32) {
    if status == nil { kill(pid, signal) }
  }

  package func exitStatus(within limit: Duration = .seconds(60)) async throws -> Int32 {
    try await waitUntil("process \(pid) ended", within: limit) { status != nil }
    return status ?? -1
  }

  /// Ends it, and whatever it started that is still there; returns when it is gone.
  package func destroy() async throws {
    kill(-pid, SIGKILL)
    _ = try await exitStatus()
  }

  /// Runs a program to its end.
  package static func run(
    _ executable: String, _ arguments: [String], environment: [String: String], directory: String,
    input: String = "", within limit: Duration = .seconds(60)
  ) async throws -> ProgramResult {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try input.write(toFile: folder.path + "/input", atomically: false, encoding: .utf8)
    let program = try ChildProgram(
      executable, arguments, environment: environment, directory: directory,
      input: folder.path + "/input", output: folder.path + "/output",
      errors: folder.path + "/errors")
    defer { kill(-program.pid, SIGKILL) }
    let status = try await program.exitStatus(within: limit)
    return ProgramResult(
      status: status, output: folder.text("output"), errors: folder.text("errors"))
  }
}

private func withCStrings<Result>(
  _ texts: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result
) -> Result {
  let pointers = texts.map { strdup($0) } + [nil]
  defer { for pointer in pointers { free(pointer) } }
  return body(pointers)
}

/// A folder of one test.
package struct TemporaryFolder: Sendable {
  package let path: String

  package init() throws {
    // Short, since a worker's socket lies below it.
    path = "/tmp/martlet-test-\(String(UInt64.random(in: .min ... .max), radix: 36))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  package func remove() { try? FileManager.default.removeItem(atPath: path) }

  package func write(_ text: String, to name: String) throws {
    try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8)
  }

  package func text(_ name: String) -> String {
    FileManager.default.contents(atPath: "\(path)/\(name)").map {
      String(decoding: $0, as: UTF8.self)
    }
      ?? ""
  }
}

/// `martlet up` as a user runs it: a process of its own, on free ports, with a project and a data directory of one test.
///
/// Guarantees: no process that it started is left when `with` returns, whatever the test did.
package final class PlatformProcess: Sendable {
  private struct Announced: Decodable {
    var pid: Int32
    var http: String
    var grpc: String
  }

  private struct State {
    /// Every start; the last one is the platform.
    var programs: [ChildProgram] = []
    var http = ""
    var grpc = ""
  }

  package let folder: TemporaryFolder
  package let data: String
  private var program: ChildProgram? { state.withLock { $0.programs.last } }
  private let state = Mutex(State())
  package let environment: [String: String]

  package static let repository = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().path
  package static let executable =
    ProcessInfo.processInfo.environment["MARTLET_EXECUTABLE"]
    ?? "\(repository)/.build/release/martlet"
  package static let python =
    ProcessInfo.processInfo.environment["MARTLET_PYTHON"] ?? "\(repository)/.venv/bin/python"

  /// - Parameters:
  ///   - files: names and texts of the project's folder, `martlet.yaml` among them.
  ///   - data: the data directory, where it is not one of the test's own folder.
  package init(
    files: [String: String], environment: [String: String] = [:], data: String? = nil
  ) throws {
    folder = try TemporaryFolder()
    self.data = data ?? "\(folder.path)/data"
    try FileManager.default.createDirectory(
      atPath: "\(folder.path)/project", withIntermediateDirectories: true)
    for (name, text) in files { try folder.write(text, to: "project/\(name)") }
    let inherited = ProcessInfo.processInfo.environment.filter {
      ["PATH", "HOME", "LD_LIBRARY_PATH", "TZ", "USER"].contains($0.key)
    }
    self.environment = inherited.merging([
      "MARTLET_PROJECT": "\(folder.path)/project", "MARTLET_DATA_DIRECTORY": self.data,
      "MARTLET_SERVER_HTTP_PORT": "0", "MARTLET_SERVER_GRPC_PORT": "0",
      "MARTLET_WORKERS_PYTHON": Self.python,
    ]) { $1 }.merging(environment) { $1 }
  }

  /// Starts a platform, runs `body`, and ends the platform.
  package static func with<Result>(
    files: [String: String], environment: [String: String] = [:], data: String? = nil,
    _ body: (PlatformProcess) async throws -> Result
  ) async throws -> Result {
    let platform = try PlatformProcess(files: files, environment: environment, data: data)
    let result: Swift.Result<Result, any Error>
    do {
      try await platform.start()
      result = .success(try await body(platform))
    } catch {
      result = .failure(error)
    }
    try await platform.remove()
    return try result.get()
  }

  /// `http://127.0.0.1:port`
  package var http: String { state.withLock { $0.http } }
  /// `127.0.0.1:port`
  package var grpc: String { state.withLock { $0.grpc } }
  package var pid: pid_t { program?.pid ?? 0 }
  package var log: String { folder.text("log") }
  package var project: String { "\(folder.path)/project" }

  /// The most memory that the process ever had, in bytes.
  package var peakMemory: Int {
    let status = (try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM:") } ?? ""
    return line.split(separator: " ").compactMap { Int($0) }.first.map { $0 * 1_024 } ?? 0
  }

  /// Starts it, or starts it again on the same data, and returns when it answers.
  package func start(_ changes: [String: String] = [:]) async throws {
    let program = try ChildProgram(
      Self.executable, ["up"], environment: environment.merging(changes) { $1 },
      directory: folder.path, output: "\(folder.path)/log", errors: "\(folder.path)/log")
    state.withLock { $0.programs.append(program) }
    var announced: Announced?
    try await waitUntil("the platform was ready; its log:\n\(log.suffix(4_000))") {
      if let status = program.status {
        throw Disappointment(
          "the platform ended at its start with status \(status); its log:\n\(log.suffix(4_000))")
      }
      let bytes = FileManager.default.contents(atPath: "\(data)/martlet.json") ?? Data()
      announced = try? JSONDecoder().decode(Announced.self, from: bytes)
      // A killed platform leaves its file; only the new one's counts.
      return announced?.pid == program.pid
    }
    state.withLock { state in
      state.http = announced?.http ?? ""
      state.grpc = announced?.grpc ?? ""
    }
  }

  /// `kill -9` of the platform alone; returns when it is gone. Its workers have to notice by themselves.
  package func crash() async throws {
    send(SIGKILL)
    _ = try await exitStatus()
  }

  package func send(_ signal: Int32) { program?.send(signal) }

  /// Waits for the end that a signal asked for.
  package func exitStatus(within limit: Duration = .seconds(60)) async throws -> Int32 {
    try await program?.exitStatus(within: limit) ?? -1
  }

  /// SIGTERM, and the status that it ended with.
  package func stop() async throws -> Int32 {
    send(SIGTERM)
    return try await exitStatus()
  }

  /// Runs a command of the program in the same environment.
  package func martlet(
    _ arguments: String..., input: String = "", environment changes: [String: String] = [:]
  ) async throws -> ProgramResult {
    try await martlet(arguments, input: input, environment: changes)
  }

  package func martlet(
    _ arguments: [String], input: String = "", environment changes: [String: String] = [:]
  ) async throws -> ProgramResult {
    try await ChildProgram.run(
      Self.executable, arguments, environment: environment.merging(changes) { $1 },
      directory: folder.path, input: input)
  }

  /// Ends what runs and removes every file.
  package func remove() async throws {
    for program in state.withLock({ $0.programs }) { try await program.destroy() }
    folder.remove()
  }
}
