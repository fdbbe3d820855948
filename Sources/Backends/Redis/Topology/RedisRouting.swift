import Core
import Logging
import NIOCore
import NIOSSL

/// Puts together what a configuration asks for.
enum RedisRouting {
  static func router(
    _ configuration: RedisConfiguration, group: any EventLoopGroup, clock: any Clock<Duration>,
    connections: ConnectionCount = ConnectionCount(), logger: Logger
  ) throws -> any RedisRouter {
    let tls = try configuration.tls.map(context)
    func factory(_ handshake: Handshake) -> RedisNodeFactory {
      RedisNodeFactory(
        settings: LinkSettings(
          handshake: handshake, tls: tls, connectTimeout: configuration.connectTimeout,
          requestTimeout: configuration.requestTimeout, backoff: configuration.backoff,
          inFlight: configuration.inFlight, waiting: configuration.waiting,
          connections: connections),
        group: group, logger: logger)
    }
    func servers(needsMaster: Bool) -> RedisNodeFactory {
      factory(
        Handshake(
          username: configuration.username, password: configuration.password,
          database: configuration.database, needsMaster: needsMaster))
    }
    switch configuration.mode {
    case .single:
      return SingleRouter(node: servers(needsMaster: false).node(configuration.addresses[0]))
    case .cluster:
      return ClusterRouter(
        seeds: configuration.addresses, servers: servers(needsMaster: false), clock: clock,
        logger: logger)
    case .sentinel(let master):
      let sentinels = factory(
        Handshake(
          username: configuration.sentinelUsername, password: configuration.sentinelPassword,
          database: 0, needsMaster: false))
      return SentinelRouter(
        masterName: master, addresses: configuration.addresses, sentinels: sentinels,
        servers: servers(needsMaster: true), logger: logger)
    }
  }

  private static func context(_ tls: RedisTLS) throws -> NIOSSLContext {
    var settings = TLSConfiguration.makeClientConfiguration()
    do {
      if let file = tls.authorityFile { settings.trustRoots = .file(file) }
      if let certificate = tls.certificateFile, let key = tls.keyFile {
        settings.certificateChain = try NIOSSLCertificate.fromPEMFile(certificate).map {
          .certificate($0)
        }
        settings.privateKey = .privateKey(try NIOSSLPrivateKey(file: key, format: .pem))
      }
      return try NIOSSLContext(configuration: settings)
    } catch {
      throw PlatformError(
        .invalidConfiguration,
        "redis: a certificate or key cannot be read; it must be a PEM file that the platform may read",
        cause: error)
    }
  }
}

extension RedisConfiguration {
  var backoff: Backoff { Backoff(shortest: shortestBackoff, longest: longestBackoff) }
}
