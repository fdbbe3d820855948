import Core
import DuckDBBackend
import Foundation
import Testing

@Suite("DuckDB faults")
struct DuckDBFaultTests {
  let scratch: ScratchDirectory

  init() throws { scratch = try ScratchDirectory() }

  @Test func `what was committed is there after closing and opening again`() async throws {
    let path = scratch.file("w.duckdb")
    let first = try await DuckDBWarehouse.open(path: path)
    try await first.prepare([orders])
    try await first.commit(WarehouseCommit(events: [orderBatch(3_000)]))
    try await first.close()
    try await first.close()
    await #expect(throws: PlatformError.self) { try await rowCount(first) }
    #expect(!FileManager.default.fileExists(atPath: path + ".wal"))
    let second = try await DuckDBWarehouse.open(path: path)
    #expect(try await rowCount(second) == 3_000)
    try await second.commit(WarehouseCommit(events: [orderBatch(5, from: 3_000)]))
    #expect(try await rowCount(second) == 3_005)
    try await second.close()
  }

  @Test func `a file that this process holds is not opened twice`() async throws {
    let path = scratch.file("w.duckdb")
    let first = try DuckDBWarehouse(path: path)
    let error = #expect(throws: PlatformError.self) { try DuckDBWarehouse(path: path) }
    #expect(error?.code == .unavailable)
    #expect(error?.message.contains("pid \(getpid())") == true)
    try await first.close()
    try await DuckDBWarehouse(path: path).close()
  }

  @Test func `a file that another process holds is refused with that process`() async throws {
    let path = scratch.file("w.duckdb")
    try await DuckDBWarehouse(path: path).close()
    let holder = Process()
    holder.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    holder.arguments = [
      "python3", "-c",
      "import fcntl, sys\nf = open(sys.argv[1], 'r+b')\nfcntl.lockf(f, fcntl.LOCK_EX)\n"
        + "print('held', flush=True)\nsys.stdin.read()", path,
    ]
    let output = Pipe()
    let input = Pipe()
    holder.standardOutput = output
    holder.standardInput = input
    try holder.run()
    defer {
      try? input.fileHandleForWriting.close()
      holder.waitUntilExit()
    }
    _ = output.fileHandleForReading.availableData
    let error = #expect(throws: PlatformError.self) { try DuckDBWarehouse(path: path) }
    #expect(error?.code == .unavailable)
    #expect(error?.context["pid"] == "\(holder.processIdentifier)")
    let message = error?.message ?? ""
    #expect(message.contains(path) && message.contains("process \(holder.processIdentifier)"))
    #expect(message.contains("python3"), "\(message)")
    #expect(message.contains("Stop that process"))
  }

  @Test func `a damaged file is refused as storage`() throws {
    let path = try scratch.write(Data(repeating: 0x5A, count: 300_000), to: "w.duckdb")
    let error = #expect(throws: PlatformError.self) { try DuckDBWarehouse(path: path) }
    #expect(error?.code == .storage)
    #expect(error?.message.contains(path) == true)
    #expect(error?.message.contains("backup") == true)
  }

  @Test func `a missing folder is refused with what to check`() throws {
    let path = scratch.file("no/such/folder/w.duckdb")
    let error = #expect(throws: PlatformError.self) { try DuckDBWarehouse(path: path) }
    #expect(error?.code == .storage)
    #expect(error?.message.contains("exists and is writable") == true, "\(error?.message ?? "")")
  }

  @Test func `a database of a newer schema is refused`() async throws {
    let path = scratch.file("w.duckdb")
    let warehouse = try DuckDBWarehouse(path: path)
    try await warehouse.execute("INSERT INTO schema_migrations VALUES (99, now()::TIMESTAMP)", [])
    try await warehouse.close()
    let error = #expect(throws: PlatformError.self) { try DuckDBWarehouse(path: path) }
    #expect(error?.code == .failedPrecondition)
    #expect(error?.message.contains("schema version 99") == true)
  }

  @Test(.enabled(if: SmallDisk.isPossible, "mounting a small disk needs root"))
  func `a full disk is a clear error and leaves what was committed`() async throws {
    let disk = try #require(SmallDisk(at: scratch.file("disk"), megabytes: 24))
    defer { disk.unmount() }
    let path = disk.path + "/w.duckdb"
    let warehouse = try DuckDBWarehouse(path: path)
    try await warehouse.prepare([orders])
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(1_000)]))
    let error = await #expect(throws: PlatformError.self) {
      try await warehouse.transaction { appender in
        for part in 0..<100 { try appender.append(noise(50_000, from: 1_000 + part * 50_000)) }
      }
    }
    #expect(error?.code == .storage, "\(error?.description ?? "")")
    #expect(error?.message.contains("disk is full") == true, "\(error?.message ?? "")")
    #expect(try await rowCount(warehouse) == 1_000)
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(10, from: 1_000)]))
    #expect(try await rowCount(warehouse) == 1_010)
    try await warehouse.close()
    let again = try DuckDBWarehouse(path: path)
    #expect(try await rowCount(again) == 1_010)
    try await again.close()
  }

  @Test(.enabled(if: SmallDisk.isPossible, "mounting a small disk needs root"))
  func `after a disk filled up during small commits every acknowledged one is there once`()
    async throws
  {
    let disk = try #require(SmallDisk(at: scratch.file("disk"), megabytes: 40))
    defer { disk.unmount() }
    let filler = URL(fileURLWithPath: disk.path + "/filler")
    try Data(repeating: 1, count: 20 << 20).write(to: filler)
    let path = disk.path + "/w.duckdb"
    let warehouse = try DuckDBWarehouse(path: path)
    try await warehouse.prepare([orders])
    var acknowledged = 0
    var failure: PlatformError?
    while failure == nil, acknowledged < 5_000_000 {
      let commit = WarehouseCommit(events: [noise(5_000, from: acknowledged)])
      do {
        try await warehouse.commit(commit)
        acknowledged += 5_000
      } catch let error as PlatformError {
        failure = error
      }
    }
    #expect(failure?.code == .storage, "\(failure?.description ?? "")")
    #expect(failure?.message.contains("disk is full") == true, "\(failure?.message ?? "")")
    #expect(try await rowCount(warehouse) == acknowledged)
    try FileManager.default.removeItem(at: filler)
    try await warehouse.commit(WarehouseCommit(events: [orderBatch(10, from: acknowledged)]))
    #expect(try await rowCount(warehouse) == acknowledged + 10)
    try await warehouse.close()
    let again = try DuckDBWarehouse(path: path)
    let ids = try await again.query(
      "SELECT count(DISTINCT event_id) FROM events_orders", as: Int.self)
    #expect(ids == [acknowledged + 10])
    #expect(try await rowCount(again) == acknowledged + 10)
    try await again.close()
  }

  /// Values that do not compress.
  private func noise(_ count: Int, from first: Int) -> EventBatch {
    var batch = orderBatch(count, from: first)
    var state = UInt64(first) &* 0x9E37_79B9_7F4A_7C15 | 1
    batch.columns[2].values = .double(
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(bitPattern: state >> 2)
      })
    return batch
  }
}

/// A file system in memory of a few megabytes, where the test may mount one.
private struct SmallDisk {
  let path: String

  /// Root in a container may still lack the right to mount, so it is tried.
  static let isPossible: Bool = {
    guard geteuid() == 0, let scratch = try? ScratchDirectory(),
      let disk = SmallDisk(at: scratch.file("disk"), megabytes: 1)
    else { return false }
    disk.unmount()
    return true
  }()

  init?(at path: String, megabytes: Int) {
    self.path = path
    try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    guard Self.run("mount", "-t", "tmpfs", "-o", "size=\(megabytes)m", "tmpfs", path) else {
      return nil
    }
  }

  func unmount() { _ = Self.run("umount", "-l", path) }

  private static func run(_ arguments: String...) -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
