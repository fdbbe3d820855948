import Core

// What the processes of a project tell one another.
extension RedisOnlineStore {
  package var warehouse: String { configuration.warehouse }

  package func announce(_ name: String, for time: Span) async throws {
    let sign = keys.sign(of: warehouse)
    try await patiently("say that this process is there") {
      let replies = try await self.router.send(
        [
          self.command(["HSET"], self.keys.processes, [self.warehouse, name]),
          self.command(["SET"], sign, ["1", "PX", "\(time.microseconds / 1_000)"]),
        ], lane: .writes)
      for reply in replies { _ = try reply.unlessError() }
    }
  }

  package func processes() async throws -> [SharedProcess] {
    try await patiently("look which processes are there") {
      let names = try await self.fields(of: self.keys.processes)
      let warehouses = names.keys.sorted()
      if warehouses.isEmpty { return [] }
      let replies = try await self.router.send(
        warehouses.map { self.command(["EXISTS"], self.keys.sign(of: $0), []) }, lane: .writes)
      return try zip(warehouses, replies).map { warehouse, reply in
        SharedProcess(
          warehouse: warehouse, name: names[warehouse] ?? warehouse,
          isThere: try reply.unlessError().integer == 1)
      }
    }
  }

  package func read(board: String) async throws -> [String: String] {
    try await patiently("read what other processes say") {
      try await self.fields(of: self.keys.board(board))
    }
  }

  package func post(_ fields: [String: String], on board: String) async throws {
    if fields.isEmpty { return }
    let request = command(["HSET"], keys.board(board), fields.flatMap { [$0.key, $0.value] })
    try await patiently("tell other processes") { _ = try await self.ask(request) }
  }

  package func clear(_ board: String, field: String?) async throws {
    let key = keys.board(board)
    let request = field.map { command(["HDEL"], key, [$0]) } ?? command(["DEL"], key, [])
    try await patiently("tell other processes") { _ = try await self.ask(request) }
  }

  package func hold(_ name: String, as holder: String, for time: Span) async throws -> Bool {
    let key = keys.lease(name)
    let milliseconds = "\(time.microseconds / 1_000)"
    return try await patiently("hold '\(name)'") {
      let renewed = try await self.run(
        .renew, [(keys: [key], arguments: [Array(holder.utf8), Array(milliseconds.utf8)])])
      if renewed[0].integer == 1 { return true }
      return try await self.ask(self.command(["SET"], key, [holder, "NX", "PX", milliseconds]))
        != .null
    }
  }

  package func letGo(_ name: String, as holder: String) async throws {
    _ = try await patiently("let '\(name)' go") {
      try await self.run(
        .release, [(keys: [self.keys.lease(name)], arguments: [Array(holder.utf8)])])
    }
  }

  private func command(_ verb: [String], _ key: [UInt8], _ rest: [String]) -> RedisRequest {
    RedisRequest(verb.map { Array($0.utf8) } + [key] + rest.map { Array($0.utf8) }, key: key)
  }

  private func fields(of key: [UInt8]) async throws -> [String: String] {
    let parts = try await ask(command(["HGETALL"], key, [])).array ?? []
    var fields: [String: String] = [:]
    for index in stride(from: 0, to: parts.count - 1, by: 2) {
      if let name = parts[index].text { fields[name] = parts[index + 1].text }
    }
    return fields
  }
}
