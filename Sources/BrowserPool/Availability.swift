import Glibc

extension BrowserPool {
    /// What keeps this machine from having a pool with these settings: a browser that is missing, a sandbox that cannot be, a
    /// setting that is wrong. Nil when nothing does. It starts nothing.
    public static func lack(_ settings: BrowserPoolSettings) -> BrowserPoolError? {
        do throws(BrowserPoolError) {
            try check(settings)
            let account = try account(settings)
            _ = try BrowserExecutable.located(settings)
            if settings.sandbox == .required, let flaw = SandboxCheck.flaw(isRoot: geteuid() == 0 && account == nil) {
                throw BrowserPoolError(.notSandboxed, flaw)
            }
            return nil
        } catch {
            return error
        }
    }
}
