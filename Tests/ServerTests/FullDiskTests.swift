import Core
import Foundation
import TestKit
import Testing

/// A file system of a few megabytes, which a test may fill.
struct TinyDisk: Sendable {
  private let folder: TemporaryFolder
  var path: String { folder.path }

  static let absent: Comment = "mounting a small tmpfs needs root"
  static let isPossible: Bool = {
    guard geteuid() == 0, let disk = try? TinyDisk(megabytes: 1) else { return false }
    disk.remove()
    return true
  }()

  init(megabytes: Int) throws {
    folder = try TemporaryFolder()
    guard mount("tmpfs", folder.path, "tmpfs", 0, "size=\(megabytes)m") == 0 else {
      folder.remove()
      throw Disappointment("mount: \(String(cString: strerror(errno)))")
    }
  }

  /// Takes what is left but for `bytes`.
  func fill(leaving bytes: Int) throws {
    var space = statvfs()
    guard statvfs(path, &space) == 0 else { throw Disappointment("no statvfs of \(path)") }
    let size = Int(space.f_bavail) * Int(space.f_frsize) - bytes
    let file = open("\(path)/filler", O_CREAT | O_WRONLY, 0o600)
    defer { close(file) }
    guard posix_fallocate(file, 0, off_t(max(size, 1))) == 0 else {
      throw Disappointment("the disk could not be filled with \(size) bytes")
    }
  }

  func free() { unlink("\(path)/filler") }

  func remove() {
    // Lazily: a process that a failed test left may still hold a file.
    umount2(folder.path, Int32(MNT_DETACH))
    folder.remove()
  }
}

extension WholeProgram {
  @Suite(.enabled(if: TinyDisk.isPossible, TinyDisk.absent)) struct FullDiskTests {
    @Test(
      "a full disk refuses events with a clear error, loses none that was acknowledged, and takes events again when there is room"
    )
    func fullDisk() async throws {
      let disk = try TinyDisk(megabytes: 96)
      defer { disk.remove() }
      try await ShopProject.with(data: "\(disk.path)/data") { platform in
        let events = AcknowledgedEvents()
        let rest = platform.rest
        await events.produce(to: rest) { events.batches >= 10 }
        try disk.fill(leaving: 1 << 20)
        await events.produce(to: rest) { !events.refusals.isEmpty || events.batches > 3_000 }
        let refusal = try #require(events.refusals.first)
        #expect(refusal.hasPrefix("500 ") || refusal.hasPrefix("507 "), "\(refusal)")
        #expect(refusal.contains("storage"), "\(refusal)")
        #expect(refusal.contains("disk is full") || refusal.contains("room"), "\(refusal)")
        #expect(try await rest.get("/health/live").status == 200)
        disk.free()
        let before = events.batches
        try await waitUntil("events were taken again") {
          await events.produce(to: rest) { events.batches > before }
          return events.batches > before
        }
        #expect(try await events.faults(rest) == [])
        #expect(try await platform.stop() == 0)
        try await platform.start()
        #expect(try await events.faults(platform.rest) == [])
        let again = try await events.sendAgain(platform.rest)
        #expect(again.accepted == 0)
      }
    }

    @Test("an upload that fills the disk is refused with a clear error and leaves room again")
    func uploadFillsDisk() async throws {
      let disk = try TinyDisk(megabytes: 64)
      defer { disk.remove() }
      try await ShopProject.with(data: "\(disk.path)/data") { platform in
        try disk.fill(leaving: 4 << 20)
        let csv =
          "event_id,customer_id,kind,amount,at\n"
          + (0..<300_000).map { "f\($0),\($0 % 20),buy,1,2026-02-28T10:00:00Z\n" }.joined()
        let answer = try await platform.rest.upload("events", "big.csv", csv)
        #expect(answer.status == 500 || answer.status == 507, "\(answer)")
        #expect(answer.code == "storage", "\(answer)")
        #expect(answer.error.contains("room") || answer.error.contains("disk is full"), "\(answer)")
        let spool = try FileManager.default.contentsOfDirectory(atPath: "\(platform.data)/spool")
        #expect(spool.isEmpty)
        disk.free()
        let again = try await platform.rest.upload("events", "big.csv", csv)
        #expect(again["accepted"]?.int == 300_000, "\(again)")
      }
    }
  }
}
