import Core
import Foundation
import Synchronization

/// One child process with a group of its own and one pipe for all that it writes outside the
/// protocol.
///
/// Guarantees: a signal is sent only while the process is not reaped, so never to a stranger that
/// got its number; the child has no other descriptor of the platform's than the pipe.
final class WorkerProcess: Sendable {
  struct Launch: Sendable {
    var executable: String
    var arguments: [String]
    var environment: [String: String]
  }

  private struct State {
    var reaped = false
    var rest: [UInt8] = []
    var lastLines: [String] = []
  }

  static let lineBytes = 4 << 10

  let pid: pid_t
  private let output: Int32
  private let state = Mutex(State())

  /// Starts the program; the executable is looked up on PATH unless it is a path.
  init(_ launch: Launch) throws {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw Self.failure("cannot open a pipe", errno) }
    defer { close(ends[1]) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)

    var files = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&files)
    defer { posix_spawn_file_actions_destroy(&files) }
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
    posix_spawn_file_actions_adddup2(&files, ends[1], 1)
    posix_spawn_file_actions_adddup2(&files, ends[1], 2)
    Self.closeOthers(&files)

    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    var all = sigset_t()
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setpgroup(&attributes, 0)
    let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
    posix_spawnattr_setflags(&attributes, Int16(flags))

    let arguments = CStrings([launch.executable] + launch.arguments)
    let environment = CStrings(launch.environment.map { "\($0)=\($1)" })
    var pid = pid_t()
    let status = posix_spawnp(
      &pid, launch.executable, &files, &attributes, arguments.pointers, environment.pointers)
    guard status == 0 else {
      close(ends[0])
      throw Self.failure("cannot start \(launch.executable)", status)
    }
    self.pid = pid
    output = ends[0]
  }

  deinit { close(output) }

  /// Signals the process and everything it has started in its group.
  func signal(_ number: Int32) {
    state.withLock { state in
      if !state.reaped, kill(-pid, number) != 0 { _ = kill(pid, number) }
    }
  }

  /// How it ended, once, like "exit status 1" or "signal 9 (killed)"; nil while it runs and after it was told.
  func reap() -> String? {
    state.withLock { state in
      var status: Int32 = 0
      guard !state.reaped, waitpid(pid, &status, WNOHANG) == pid else { return nil }
      state.reaped = true
      return Self.ending(of: status)
    }
  }

  /// Whole lines that it has written since the last call; a line is cut at 4 KiB.
  func lines() -> [String] {
    state.withLock { state in
      var buffer = [UInt8](repeating: 0, count: 64 << 10)
      let count = read(output, &buffer, buffer.count)
      guard count > 0 else { return [] }
      state.rest += buffer.prefix(count)
      var parts = state.rest.split(separator: 10, omittingEmptySubsequences: false)
      let rest = parts.popLast() ?? []
      state.rest = Array(rest.suffix(Self.lineBytes))
      let lines = parts.filter { !$0.isEmpty }.map {
        String(decoding: $0.prefix(Self.lineBytes), as: UTF8.self)
      }
      state.lastLines = (state.lastLines + lines).suffix(3)
      return lines
    }
  }

  /// What it wrote last, for the message about its end.
  var lastWords: String { state.withLock { $0.lastLines.joined(separator: "; ") } }

  /// What a status of `waitpid` says in words.
  static func ending(of status: Int32) -> String {
    let signal = status & 0x7f
    guard signal != 0 else { return "exit status \((status >> 8) & 0xff)" }
    guard let name = strsignal(signal) else { return "signal \(signal)" }
    return "signal \(signal) (\(String(cString: name).lowercased()))"
  }

  private static func failure(_ what: String, _ number: Int32) -> PlatformError {
    PlatformError(
      .unavailable,
      "\(what): \(String(cString: strerror(number))); check the Python interpreter in the "
        + "configuration (workers.python)")
  }

  /// glibc has had this since 2.34, but Swift does not see GNU extensions of its headers.
  private static func closeOthers(_ files: inout posix_spawn_file_actions_t) {
    typealias CloseFrom =
      @convention(c) (
        UnsafeMutablePointer<posix_spawn_file_actions_t>, Int32
      ) -> Int32
    guard let symbol = dlsym(nil, "posix_spawn_file_actions_addclosefrom_np") else { return }
    _ = unsafeBitCast(symbol, to: CloseFrom.self)(&files, 3)
  }
}

/// A null-terminated array of C strings that lives as long as this object.
private final class CStrings {
  let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
  private let count: Int

  init(_ strings: [String]) {
    count = strings.count
    pointers = .allocate(capacity: strings.count + 1)
    for (index, text) in strings.enumerated() { pointers[index] = strdup(text) }
    pointers[strings.count] = nil
  }

  deinit {
    for index in 0..<count { free(pointers[index]) }
    pointers.deallocate()
  }
}
