import Core

/// Where a Redis server listens.
package struct RedisAddress: Sendable, Hashable, CustomStringConvertible {
  package var host: String
  package var port: Int

  package init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// Reads `host:port`, `[v6 address]:port` or a host alone, which means port 6379; nil for anything else.
  package init?(_ text: String) {
    var host = Substring(text)
    var port = 6_379
    if let end = text.lastIndex(of: "]"), text.hasPrefix("[") {
      host = text[text.index(after: text.startIndex)..<end]
      let rest = text[text.index(after: end)...]
      if !rest.isEmpty {
        guard rest.hasPrefix(":"), let number = Int(rest.dropFirst()) else { return nil }
        port = number
      }
    } else if let colon = text.lastIndex(of: ":") {
      guard text.firstIndex(of: ":") == colon, let number = Int(text[text.index(after: colon)...])
      else { return nil }
      host = text[..<colon]
      port = number
    }
    guard !host.isEmpty, (1...65_535).contains(port) else { return nil }
    self.init(host: String(host), port: port)
  }

  package var description: String {
    host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
  }
}

/// How connections are encrypted; certificates are PEM files.
package struct RedisTLS: Sendable, Equatable {
  /// Whom to trust, and nobody else; nil trusts what the system trusts.
  package var authorityFile: String?
  /// Shown to a server that asks who we are, with `keyFile`.
  package var certificateFile: String?
  package var keyFile: String?

  package init(
    authorityFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil
  ) {
    self.authorityFile = authorityFile
    self.certificateFile = certificateFile
    self.keyFile = keyFile
  }
}

/// Everything that `RedisOnlineStore` has to be told.
package struct RedisConfiguration: Sendable {
  package enum Mode: Sendable, Equatable {
    /// The first address is the server.
    case single
    /// The addresses are Sentinels that watch `master`.
    case sentinel(master: String)
    /// The addresses are some nodes of a Cluster.
    case cluster
  }

  package var mode: Mode
  package var addresses: [RedisAddress]
  /// The first part of every key.
  package var project: String
  /// Which warehouse the events of this process are in; processes with one of their own each share the states.
  package var warehouse = ""
  /// Ids of stream records that are remembered of each source: the newest so many, and at most twice as many; 0 is none.
  package var knownIDs = 1_000_000
  package var database = 0
  package var username: String?
  package var password: String?
  /// For the Sentinels themselves, which have users and passwords of their own.
  package var sentinelUsername: String?
  package var sentinelPassword: String?
  package var tls: RedisTLS?

  package var connectTimeout = Span.seconds(2)
  /// From the call to the reply, the wait for a free place among the requests in flight included.
  package var requestTimeout = Span.seconds(2)
  /// How long a write goes on trying while the server is away or others write the same keys.
  package var writePatience = Span.seconds(30)
  package var shortestBackoff = Span.milliseconds(50)
  package var longestBackoff = Span.seconds(5)
  /// Requests of one connection that have no reply yet.
  package var inFlight = Limits.redisInFlight
  /// Requests that may wait for a place among those in flight before callers are refused.
  package var waiting = Limits.redisWaiting

  /// Whether keys that no answer can need any more are left to Redis to forget; off with a simulated clock, whose time is not
  /// the server's.
  package var expires = true
  /// How much longer than any answer needs it a key is kept: time for statuses to say `expired`, and for clocks that differ.
  package var expiryGrace = Span.days(1)

  package init(mode: Mode = .single, addresses: [RedisAddress], project: String) {
    self.mode = mode
    self.addresses = addresses
    self.project = project
  }

  /// Throws `invalidConfiguration` for settings that contradict each other.
  package func validate() throws {
    func refuse(_ message: String) -> PlatformError {
      PlatformError(.invalidConfiguration, "redis: \(message)")
    }
    if addresses.isEmpty { throw refuse("give at least one address, as in 127.0.0.1:6379") }
    if project.isEmpty || project.contains(where: { ":{}@".contains($0) }) {
      throw refuse("the project's name '\(project)' cannot begin a key; use letters, digits and _")
    }
    if database < 0 { throw refuse("the database's number is negative; the first one is 0") }
    if mode == .cluster, database != 0 {
      throw refuse("a Cluster has database 0 only; remove the database's number")
    }
    if mode == .sentinel(master: "") { throw refuse("name the master that the Sentinels watch") }
    if username != nil, password == nil { throw refuse("a username needs a password") }
    if let tls, (tls.certificateFile == nil) != (tls.keyFile == nil) {
      throw refuse("a client certificate and its key go together; give both files")
    }
    if inFlight < 1 || waiting < 0 { throw refuse("requests in flight must be at least 1") }
    let spans = [connectTimeout, requestTimeout, shortestBackoff, longestBackoff]
    if spans.contains(where: { $0.microseconds <= 0 }) || longestBackoff < shortestBackoff {
      throw refuse("times must be positive, and the longest back-off not below the shortest")
    }
  }
}
