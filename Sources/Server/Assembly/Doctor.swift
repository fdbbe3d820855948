import Catalog
import Core
import DuckDBBackend
import Foundation
import Logging
import RedisBackend

/// Looks at the machine and every back-end before something fails, and says what to do.
package enum Doctor {
  package enum Verdict: String, Sendable { case good, note, bad }

  package struct Finding: Sendable {
    package var name: String
    package var verdict: Verdict
    package var what: String
    /// What to do about it; empty where nothing has to be done.
    package var advice: String

    package var text: String {
      let mark =
        switch verdict {
        case .good: "ok   "
        case .note: "note "
        case .bad: "BAD  "
        }
      return "\(mark) \(name): \(what)" + (advice.isEmpty ? "" : "\n       → \(advice)")
    }

    package var json: JSON {
      .object([
        "name": .string(name), "verdict": .string(verdict.rawValue), "what": .string(what),
        "advice": .string(advice),
      ])
    }
  }

  package static func examine(_ configuration: Configuration) async -> [Finding] {
    let running = RunningPlatform.find(configuration)
    let findings: [Finding?] = await [
      platform(running), dataDirectory(configuration), definitions(configuration), memory(),
      python(configuration), warehouse(configuration, isRunning: running != nil),
      database("catalog.sqlite", configuration), database("jobs.sqlite", configuration),
      blobs(configuration), redis(configuration),
      port("server.http_port", configuration.server.httpPort, isOurs: running != nil),
      port("server.grpc_port", configuration.server.grpcPort, isOurs: running != nil),
    ]
    return findings.compactMap { $0 } + (await kafka(configuration))
  }

  private static func platform(_ running: RunningPlatform?) -> Finding {
    guard let running else {
      return Finding(
        name: "platform", verdict: .note, what: "none runs on this data directory",
        advice: "start it with `martlet up`")
    }
    return Finding(
      name: "platform", verdict: .good, what: "runs as process \(running.pid) at \(running.http)",
      advice: "")
  }

  private static func dataDirectory(_ configuration: Configuration) -> Finding {
    let path = configuration.data.directory
    do {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      let probe = path + "/.doctor"
      try Data("x".utf8).write(to: URL(fileURLWithPath: probe))
      try FileManager.default.removeItem(atPath: probe)
      let system = try FileManager.default.attributesOfFileSystem(forPath: path)
      let free = (system[.systemFreeSize] as? NSNumber)?.int64Value ?? 0
      let text = "\(path) is writable, \(free / 1_000_000_000) GB free"
      return free < 1_000_000_000
        ? Finding(
          name: "data.directory", verdict: .bad, what: text,
          advice: "make room, or set data.directory to a larger disk")
        : Finding(name: "data.directory", verdict: .good, what: text, advice: "")
    } catch {
      return Finding(
        name: "data.directory", verdict: .bad,
        what: "\(path) cannot be written: \(error.localizedDescription)",
        advice: isFull(error)
          ? "make room, or set data.directory to a larger disk"
          : "change its permissions, or set data.directory to a folder of yours")
    }
  }

  private static func definitions(_ configuration: Configuration) -> Finding {
    let path = configuration.project + "/martlet.yaml"
    return FileManager.default.fileExists(atPath: path)
      ? Finding(name: "project", verdict: .good, what: "\(path) is there", advice: "")
      : Finding(
        name: "project", verdict: .note, what: "there is no \(path)",
        advice:
          "`martlet init` writes a first one; `project` in the configuration names another folder")
  }

  private static func memory() -> Finding {
    let bytes = ProcessInfo.processInfo.physicalMemory
    let text = "\(bytes / 1_000_000_000) GB, \(ProcessInfo.processInfo.activeProcessorCount) cores"
    return bytes < 2_000_000_000
      ? Finding(
        name: "machine", verdict: .note, what: text,
        advice: "lower warehouse.memory_limit and workers.max_python_workers")
      : Finding(name: "machine", verdict: .good, what: text, advice: "")
  }

  private static func python(_ configuration: Configuration) -> Finding {
    let python = configuration.workers.python
    let code =
      "import sys, numpy, google.protobuf as p; print(sys.version.split()[0], numpy.__version__, p.__version__)"
    let (status, output) = run(python, ["-c", code])
    guard status == 0 else {
      return Finding(
        name: "workers.python", verdict: .bad, what: "\(python) cannot run workers: \(output)",
        advice:
          "`\(python) -m pip install numpy protobuf`, or set workers.python to another interpreter")
    }
    let words = output.split(separator: " ").map(String.init)
    guard words.count == 3 else {
      return Finding(
        name: "workers.python", verdict: .bad, what: "\(python) answered '\(output)'",
        advice: "set workers.python to a Python 3.11 interpreter")
    }
    return Finding(
      name: "workers.python", verdict: .good,
      what: "\(python) is Python \(words[0]) with NumPy \(words[1]) and protobuf \(words[2])",
      advice: "")
  }

  private static func run(_ command: String, _ arguments: [String]) -> (Int32, String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [command] + arguments
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    do { try process.run() } catch { return (-1, error.localizedDescription) }
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    let lines = String(decoding: output, as: UTF8.self).split(separator: "\n")
    return (process.terminationStatus, lines.last.map(String.init) ?? "")
  }

  private static func warehouse(_ configuration: Configuration, isRunning: Bool) async -> Finding {
    let path = configuration.data.directory + "/warehouse.duckdb"
    guard !isRunning else {
      return Finding(
        name: "warehouse", verdict: .good, what: "\(path) is held by the running platform",
        advice: "")
    }
    guard FileManager.default.fileExists(atPath: path) else {
      return Finding(
        name: "warehouse", verdict: .note, what: "\(path) will be made at the first start",
        advice: "")
    }
    do {
      let warehouse = try await DuckDBWarehouse.open(path: path)
      try await warehouse.close()
      return Finding(name: "warehouse", verdict: .good, what: "\(path) opens", advice: "")
    } catch {
      return Finding(
        name: "warehouse", verdict: .bad, what: "\(error)",
        advice: "end the process that holds it, or restore the file from a copy")
    }
  }

  private static func isFull(_ error: any Error) -> Bool {
    (error as? CocoaError)?.code == .fileWriteOutOfSpace
  }

  /// A database of the platform; SQLite may be read while another process writes it.
  private static func database(_ name: String, _ configuration: Configuration) -> Finding {
    let path = configuration.data.directory + "/" + name
    guard FileManager.default.fileExists(atPath: path) else {
      return Finding(
        name: name, verdict: .note, what: "\(path) will be made at the first start", advice: "")
    }
    if let damage = CatalogStore.damage(of: path) {
      return Finding(
        name: name, verdict: .bad, what: "\(path) is damaged: \(damage)",
        advice: "restore the file from a copy")
    }
    return Finding(name: name, verdict: .good, what: "\(path) is whole", advice: "")
  }

  private static func blobs(_ configuration: Configuration) -> Finding {
    let path = configuration.data.directory + "/blobs"
    guard FileManager.default.fileExists(atPath: path) else {
      return Finding(
        name: "blobs", verdict: .note, what: "\(path) will be made at the first start", advice: "")
    }
    guard FileManager.default.isWritableFile(atPath: path) else {
      return Finding(
        name: "blobs", verdict: .bad, what: "\(path) cannot be written",
        advice: "change its permissions")
    }
    return Finding(name: "blobs", verdict: .good, what: "\(path) is writable", advice: "")
  }

  /// Nil where the online state is not kept on Redis.
  private static func redis(_ configuration: Configuration) async -> Finding? {
    guard configuration.online.backend == .redis else { return nil }
    let addresses = configuration.redis.addresses
    do {
      let store = try configuration.redis.open(expires: false, Logger(label: "martlet.doctor"))
      defer { store.close() }
      try await store.check()
      return Finding(name: "redis", verdict: .good, what: "\(addresses) answers", advice: "")
    } catch {
      return Finding(
        name: "redis", verdict: .bad, what: "\(addresses): \(error)",
        advice:
          "start the server, or mend redis.addresses, redis.mode, redis.username and redis.password"
      )
    }
  }

  private static func port(_ setting: String, _ port: Int, isOurs: Bool) -> Finding {
    if port == 0 || isOurs {
      return Finding(
        name: setting, verdict: .good,
        what: isOurs ? "in use by the running platform" : "any free one", advice: "")
    }
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(handle) }
    var yes: Int32 = 1
    setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let isFree = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(handle, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
      }
    }
    return isFree
      ? Finding(name: setting, verdict: .good, what: "port \(port) is free", advice: "")
      : Finding(
        name: setting, verdict: .bad, what: "port \(port) is in use",
        advice: "set \(setting) to a free port, or to 0 to take any")
  }
}
