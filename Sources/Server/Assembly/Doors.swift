import Core
import Foundation
import GRPCCore
import GRPCNIOTransportHTTP2
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import Wire

/// The REST server.
struct HTTPDoor: Service {
  private let services: PlatformServices
  private let ports: ListeningPorts
  private let log: Logger

  init(_ services: PlatformServices, _ ports: ListeningPorts, _ log: Logger) {
    self.services = services
    self.ports = ports
    self.log = log
  }

  func run() async throws {
    let server = services.configuration.server
    var quiet = log
    quiet.logLevel = max(log.logLevel, .warning)
    let application = Application(
      router: HTTPRouter(services: services).build(),
      configuration: .init(
        address: .hostname(server.host, port: server.httpPort), serverName: "martlet"),
      onServerRunning: { channel in ports.set(http: channel.localAddress?.port ?? server.httpPort)
      },
      logger: quiet)
    do {
      try await application.run()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw portInUse("server.http_port", server.httpPort)
    }
  }
}

/// The gRPC server.
struct GRPCDoor: Service {
  private let services: PlatformServices
  private let ports: ListeningPorts

  init(_ services: PlatformServices, _ ports: ListeningPorts) {
    self.services = services
    self.ports = ports
  }

  func run() async throws {
    let configuration = services.configuration.server
    // What leaves an interceptor and is no RPCError yet is made an unknown error by the library: the one that translates is the innermost.
    var interceptors: [any ServerInterceptor] = []
    if let token = configuration.token { interceptors.append(TokenInterceptor(token: token.value)) }
    interceptors += [PriorityInterceptor(), ErrorTranslationInterceptor()]
    let api: [any RegistrableRPCService] = [
      FeatureStoreService(services: services), OnlineReadService(services: services),
      ServingService(services: services),
      MonitoringService(services: services), OrchestratorService(services: services),
      RegistryService(services: services), InferenceGRPCService(services: services),
      InferenceHotMethod(services: services),
    ]
    let names = ["FeatureStore", "Serving", "Monitoring", "Orchestrator", "Registry"]
    let server = GRPCServer(
      transport: .http2NIOPosix(
        address: .ipv4(host: configuration.host, port: configuration.grpcPort),
        transportSecurity: .plaintext,
        config: .defaults {
          $0.rpc.maxRequestPayloadSize = Limits.requestBytes
          $0.compression.enabledAlgorithms = .all
        }),
      services: api + [
        HealthService(
          names: Set(names.map { "martlet.v1.\($0)" } + [InferenceGRPCService.name]))
      ],
      interceptors: interceptors)
    try await withGracefulShutdownHandler {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
          do {
            try await server.serve()
          } catch {
            throw "\(error)".contains("errno: \(EADDRINUSE)")
              ? portInUse("server.grpc_port", configuration.grpcPort) : error
          }
        }
        group.addTask {
          if let port = try? await server.listeningAddress?.ipv4?.port { ports.set(grpc: port) }
        }
        try await group.waitForAll()
      }
    } onGracefulShutdown: {
      server.beginGracefulShutdown()
    }
  }
}

private func portInUse(_ setting: String, _ port: Int) -> PlatformError {
  PlatformError(
    .unavailable,
    "port \(port) is in use by another process; set \(setting) to a free port, or to 0 to take any")
}
