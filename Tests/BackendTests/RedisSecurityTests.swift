import Core
import Foundation
import RedisBackend
import TestKit
import Testing

/// Passwords, users and encryption of connections.
@Suite struct RedisSecurityTests {
  @Test
  func `a user of an access control list is let in with its password, and what it lacks is named`()
    async throws
  {
    try await RedisServer.with { server in
      _ = try await server.cli("ACL", "SETUSER", "martlet", "on", ">secret", "~shop:*", "+@all")
      _ = try await server.cli("ACL", "SETUSER", "reader", "on", ">secret", "~shop:*", "+@read")
      let store = try RedisOnlineStore.test(server) {
        $0.username = "martlet"
        $0.password = "secret"
      }
      defer { store.close() }
      #expect(try await store.prepare(ContractView.layout()))
      let reader = try RedisOnlineStore.test(server) {
        $0.username = "reader"
        $0.password = "secret"
      }
      defer { reader.close() }
      let error = await failure { _ = try await reader.prepare(ContractView.layout()) }
      #expect(error?.code == .invalidConfiguration)
      #expect(error?.message.contains("ACL") == true)
    }
  }

  @Test
  func `an encrypted connection is made to a server whose certificate is trusted, and to no other`()
    async throws
  {
    let folder = try TemporaryFolder()
    defer { folder.remove() }
    try await makeCertificates(in: folder)
    let port = try freePort()
    let arguments = [
      "--tls-port", "\(port)", "--tls-cert-file", "\(folder.path)/server.pem", "--tls-key-file",
      "\(folder.path)/server.key", "--tls-ca-cert-file", "\(folder.path)/authority.pem",
    ]
    try await RedisServer.with(arguments) { server in
      func store(_ tls: RedisTLS) throws -> RedisOnlineStore {
        try RedisOnlineStore.test(server) {
          $0.addresses = [RedisAddress(host: "127.0.0.1", port: port)]
          $0.tls = tls
          $0.writePatience = .milliseconds(50)
        }
      }
      let layout = ContractView.layout()
      let known = try store(
        RedisTLS(
          authorityFile: "\(folder.path)/authority.pem",
          certificateFile: "\(folder.path)/server.pem", keyFile: "\(folder.path)/server.key"))
      defer { known.close() }
      _ = try await known.prepare(layout)
      let event = ContractView.event("x", at: ContractView.base, sequence: 1, a: 1)
      try await known.apply(
        [ContractView.write([event], to: layout)],
        now: Timestamp(microseconds: ContractView.base + 1))
      let state = try await known.read(view: layout.view, keys: [.string("x")])[0]
      #expect(state?.newestEvent == ContractView.base)
      // The system does not know our authority, and the server wants to see a certificate.
      let strangers = [
        try store(RedisTLS()), try store(RedisTLS(authorityFile: "\(folder.path)/authority.pem")),
      ]
      defer { for stranger in strangers { stranger.close() } }
      for stranger in strangers {
        let error = await failure { _ = try await stranger.prepare(layout) }
        #expect(error?.code == .unavailable)
        #expect(error?.cause?.isEmpty == false)
      }
    }
  }

  @Test func `a certificate that cannot be read is an error of the configuration`() {
    var configuration = RedisConfiguration(
      addresses: [RedisAddress(host: "127.0.0.1", port: 1)], project: "shop")
    configuration.tls = RedisTLS(authorityFile: "/nowhere/authority.pem")
    let error = #expect(throws: PlatformError.self) { try RedisOnlineStore.test(configuration) }
    #expect(error?.code == .invalidConfiguration)
  }

  /// An authority and a certificate of 127.0.0.1 signed by it.
  private func makeCertificates(in folder: TemporaryFolder) async throws {
    try folder.write("subjectAltName=IP:127.0.0.1", to: "names")
    let commands = [
      [
        "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=authority",
        "-keyout", "authority.key", "-out", "authority.pem",
      ],
      [
        "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=server", "-keyout", "server.key",
        "-out", "server.request",
      ],
      [
        "x509", "-req", "-in", "server.request", "-CA", "authority.pem", "-CAkey", "authority.key",
        "-CAcreateserial", "-days", "30", "-extfile", "names", "-out", "server.pem",
      ],
    ]
    for command in commands {
      let result = try await ChildProgram.run(
        "openssl", command, environment: RedisServer.environment, directory: folder.path)
      guard result.status == 0 else { throw Disappointment("openssl: \(result)") }
    }
  }
}
