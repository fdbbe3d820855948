import Core
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import Logging
import ServiceLifecycle
import Synchronization
import Wire
import Workers

/// Where workers of other machines dial in: a gRPC server of its own, with TLS and a token.
struct WorkerDoor: Service {
  struct Address: Sendable {
    var host: String
    var port: Int
    var certificate: String
    var key: String
    var token: String
  }

  private let address: Address
  private let pool: WorkerPool
  private let log: Logger

  /// Nil where no address is configured.
  init?(_ workers: Configuration.Workers, _ pool: WorkerPool, _ log: Logger) throws {
    guard let text = workers.remoteAddress else { return nil }
    func refuse(_ setting: String, _ why: String) -> PlatformError {
      PlatformError(.invalidConfiguration, "workers.\(setting) \(why)")
    }
    guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
      (0...65_535).contains(port), colon > text.startIndex
    else { throw refuse("remote_address", "is '\(text)'; write host:port, like 0.0.0.0:9091") }
    guard let certificate = workers.remoteCertificateFile, let key = workers.remoteKeyFile else {
      throw refuse(
        "remote_address",
        "needs workers.remote_certificate_file and workers.remote_key_file: workers of other machines are only taken over TLS"
      )
    }
    for (setting, path) in [("remote_certificate_file", certificate), ("remote_key_file", key)]
    where !FileManager.default.isReadableFile(atPath: path) {
      throw refuse(setting, "is '\(path)', which cannot be read; it must be a PEM file")
    }
    guard let token = workers.remoteToken?.value, !token.isEmpty else {
      throw refuse(
        "remote_address",
        "needs workers.remote_token_file: what workers of other machines must send; openssl rand -hex 32 makes one"
      )
    }
    address = Address(
      host: String(text[..<colon]), port: port, certificate: certificate, key: key,
      token: token.trimmingCharacters(in: .whitespacesAndNewlines))
    self.pool = pool
    self.log = log
  }

  func run() async throws {
    let server = GRPCServer(
      transport: .http2NIOPosix(
        address: .ipv4(host: address.host, port: address.port),
        transportSecurity: .tls(
          certificateChain: [.file(path: address.certificate, format: .pem)],
          privateKey: .file(path: address.key, format: .pem)),
        config: .defaults { $0.rpc.maxRequestPayloadSize = Limits.frameBytes }),
      services: [RemoteWorkerService(pool: pool, token: address.token, log: log)],
      interceptors: [ErrorTranslationInterceptor()])
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await server.serve() }
        group.addTask {
          let port = try await server.listeningAddress?.ipv4?.port ?? address.port
          log.info("workers of other machines dial in at \(address.host):\(port)")
        }
        try await group.waitForAll()
      }
    } onGracefulShutdown: {
      // Their streams end when they have finished what they have.
      pool.dismissRemote()
      server.beginGracefulShutdown()
    }
  }
}

/// `martlet.worker.v1.WorkerService`: carries frames between a worker's stream and the pool.
struct RemoteWorkerService: Martlet_Worker_V1_WorkerService.SimpleServiceProtocol {
  let pool: WorkerPool
  let token: String
  let log: Logger

  func connect(
    request: RPCAsyncSequence<Martlet_Worker_V1_Frame, any Error>,
    response: RPCWriter<Martlet_Worker_V1_Frame>, context: ServerContext
  ) async throws {
    // The roster sends one task at a time, so few frames ever wait here.
    let (outgoing, queue) = AsyncStream.makeStream(of: Martlet_Worker_V1_Frame.self)
    let link = WorkerLink(send: { queue.yield($0) }, close: { queue.finish() })
    let joined = Joined()
    defer {
      if let worker = joined.worker { pool.left(worker) }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        for try await frame in request {
          if let worker = joined.worker {
            guard pool.received(frame, from: worker) else { throw Self.misplaced(frame) }
          } else {
            let worker = try pool.join(try hello(frame), over: link)
            joined.worker = worker
          }
        }
      }
      group.addTask {
        for await frame in outgoing {
          guard let worker = joined.worker else { continue }
          if let whole = withArtifact(frame, for: worker) { try await response.write(whole) }
        }
      }
      // Whichever side ends first ends the other.
      try await group.next()
      group.cancelAll()
    }
  }

  private func hello(_ frame: Martlet_Worker_V1_Frame) throws -> Martlet_Worker_V1_Hello {
    guard case .hello(let hello)? = frame.kind else { throw Self.misplaced(frame) }
    guard equalInConstantTime(hello.token, token) else {
      log.warning("refusing a worker of another machine: its token is wrong")
      throw RPCError(code: .unauthenticated, message: "the token is wrong")
    }
    return hello
  }

  private static func misplaced(_ frame: Martlet_Worker_V1_Frame) -> RPCError {
    RPCError(
      code: .invalidArgument,
      message: "a frame came that has no place here; say hello, once and first")
  }

  /// The file travels with the task that has it loaded; nil where it cannot, which is the task's answer then.
  private func withArtifact(
    _ frame: Martlet_Worker_V1_Frame, for worker: WorkerID
  ) -> Martlet_Worker_V1_Frame? {
    guard case .task(var task)? = frame.kind, case .loadModel(var load)? = task.work else {
      return frame
    }
    var whole = frame
    do {
      load.artifact = try Data(contentsOf: URL(fileURLWithPath: load.artifactPath))
      load.artifactPath = ""
      task.work = .loadModel(load)
      whole.task = task
      guard load.artifact.count < Limits.frameBytes - (1 << 20) else {
        throw PlatformError(
          .invalidArgument,
          "the artifact has \(load.artifact.count >> 20) MiB, and at most \(Limits.frameBytes >> 20) travel to other machines"
        )
      }
      return whole
    } catch {
      var fault = Martlet_Worker_V1_Fault()
      fault.taskID = task.id
      fault.kind = .internal
      fault.message = "\(error)"
      var answer = Martlet_Worker_V1_Frame()
      answer.fault = fault
      _ = pool.received(answer, from: worker)
      return nil
    }
  }
}

/// Which worker a stream belongs to, once it has said hello.
private final class Joined: Sendable {
  private let state = Mutex<WorkerID?>(nil)

  var worker: WorkerID? {
    get { state.withLock { $0 } }
    set { state.withLock { $0 = newValue } }
  }
}
