import Core
import Foundation
import NIOCore
import Synchronization
import Wire

/// What the pool holds of one worker outside the roster: its process and its socket.
///
/// `kill` before the process has been started kills it as soon as it is.
final class WorkerHandle: Sendable {
  private struct State {
    var process: WorkerProcess?
    var channel: (any Channel)?
    var killed = false
  }

  let id: WorkerID
  /// Of a worker on another machine.
  let link: WorkerLink?
  private let state = Mutex(State())

  init(id: WorkerID, link: WorkerLink? = nil) {
    self.id = id
    self.link = link
  }

  var pid: Int32? { state.withLock { $0.process?.pid } }
  var process: WorkerProcess? { state.withLock { $0.process } }

  var channel: (any Channel)? {
    get { state.withLock { $0.channel } }
    set { state.withLock { $0.channel = newValue } }
  }

  func started(_ process: WorkerProcess) {
    let killed = state.withLock { state in
      state.process = process
      return state.killed
    }
    if killed { process.signal(SIGKILL) }
  }

  func kill() {
    let (process, channel) = state.withLock { state in
      state.killed = true
      return (state.process, state.channel)
    }
    process?.signal(SIGKILL)
    channel?.close(promise: nil)
    link?.close()
  }

  func write(_ buffer: ByteBuffer) {
    // A write that fails means a closed socket, which the connection reports.
    channel?.writeAndFlush(buffer, promise: nil)
  }

  /// Sends a frame by whatever carries them.
  ///
  /// - Throws: `invalidArgument` for one that is too large.
  func send(_ frame: Martlet_Worker_V1_Frame) throws {
    if let link {
      link.send(frame)
    } else {
      write(try WorkerFrames.encode(frame, with: ByteBufferAllocator()))
    }
  }

  func write(_ fill: (inout Martlet_Worker_V1_Frame) -> Void) {
    var frame = Martlet_Worker_V1_Frame()
    fill(&frame)
    if let link { return link.send(frame) }
    guard let buffer = try? WorkerFrames.encode(frame, with: ByteBufferAllocator()) else { return }
    write(buffer)
  }
}

/// The environment of a worker.
enum WorkerEnvironment {
  static let token = "MARTLET_WORKER_TOKEN"

  /// The platform's own environment without its settings and secrets, and what the worker needs.
  static func make(
    _ configuration: WorkerConfiguration, role: WorkerRoster.Role, token: String
  ) -> [String: String] {
    let inherited = ProcessInfo.processInfo.environment
    var environment = inherited.filter { !$0.key.hasPrefix("MARTLET_") }
    if role == .serving {
      // One row at a time gains nothing from threads, and several workers would fight over the
      // cores.
      for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"] {
        environment[name] = environment[name] ?? "1"
      }
    }
    let path = configuration.pythonPath + (inherited["PYTHONPATH"].map { [$0] } ?? [])
    if !path.isEmpty { environment["PYTHONPATH"] = path.joined(separator: ":") }
    environment.merge(configuration.environment) { _, given in given }
    environment[self.token] = token
    return environment
  }
}

/// The path of the workers' socket: in a folder that only this user can enter.
enum WorkerSocket {
  /// Bytes of `sun_path` without its terminator.
  static let longestPath = 107

  static func path(in directory: String) throws -> String {
    let name = "workers.\(getpid()).sock"
    let folder = "\(directory)/run"
    let path = "\(folder)/\(name)"
    if path.utf8.count <= longestPath {
      do {
        try FileManager.default.createDirectory(
          atPath: folder, withIntermediateDirectories: true,
          attributes: [.posixPermissions: 0o700])
        removeStale(in: folder)
        return path
      } catch {
        throw PlatformError(
          .unavailable, "cannot make the folder \(folder) for the workers' socket", cause: error)
      }
    }
    var template = Array("/tmp/martlet-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw PlatformError(
        .unavailable,
        "cannot make a folder under /tmp for the workers' socket: "
          + String(cString: strerror(errno)))
    }
    let made = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return "\(made)/\(name)"
  }

  /// Sockets of platforms that were killed.
  private static func removeStale(in folder: String) {
    for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
      let parts = name.split(separator: ".")
      guard parts.count == 3, parts[0] == "workers", let pid = pid_t(parts[1]) else { continue }
      if kill(pid, 0) != 0, errno == ESRCH { unlink("\(folder)/\(name)") }
    }
  }

  /// Removes the socket, and its folder where that was made for it.
  static func remove(_ path: String) {
    unlink(path)
    let folder = (path as NSString).deletingLastPathComponent
    if folder.hasPrefix("/tmp/martlet-") { rmdir(folder) }
  }
}
