/* SPDX-License-Identifier: MIT */
/* Opening: options and their refusals, locks, snapshots, references, users, other loops. */
#include "block-help.h"

#include <errno.h>

#define MIB (1u << 20)

/* Opens must fail with exactly this sentence ("%s": the image's name). */
static void refuses(
	struct block_backend *(*open_it)(const char *), const char *options, const char *sentence)
{
	char expected[256];

	snprintf(expected, sizeof(expected), sentence, image);
	assert_null(open_it(options));
	assert_string_equal(last_error.text, expected);
}

static void bad_drives_are_refused_with_qemus_sentence(void **state)
{
	make_image(MIB, false);
	refuses(drive, "file=/nonexistent/x,format=raw",
		"Could not open '/nonexistent/x': No such file or directory");
	refuses(drive, "file=/var/tmp,format=raw",
		"'file' driver requires '/var/tmp' to be a regular file");
	refuses(drive, "file=%s,format=rox", "Unknown driver 'rox'");
	refuses(drive, "file=%s,format=qcow2", "format 'qcow2' is not supported, only raw is");
	refuses(drive, "file=foo:bar", "Unknown protocol 'foo'");
	refuses(drive, "file=%s,cache=foo", "invalid cache option");
	refuses(drive, "file=%s,aio=foo", "invalid aio option");
	refuses(drive, "file=%s,aio=native",
		"aio=native was specified, but it requires cache.direct=on, which was not "
		"specified.");
	refuses(drive, "file=%s,werror=foo", "'foo' invalid write error action");
	refuses(drive, "file=%s,discard=g", "Invalid discard option");
	refuses(drive, "file=%s,readonly=maybe", "Parameter 'readonly' expects 'on' or 'off'");
	refuses(drive, "file=%s,detect-zeroes=unmap",
		"setting detect-zeroes to unmap is not allowed without setting discard operation "
		"to unmap");
	refuses(node, "raw,node-name=x", "Parameter 'file' is missing");
	refuses(node, "file,node-name=x", "Parameter 'filename' is missing");
	refuses(node, "raw,node-name=x,file=y", "Cannot find device='y' nor node-name='y'");
	refuses(node, "nonsense,node-name=x", "Unknown driver 'nonsense'");
	refuses(node, "host_device,node-name=x,filename=%s",
		"'host_device' driver requires '%s' to be a block device");
	assert_non_null(drive("file=%s,format=raw,id=a"));
	refuses(drive, "id=a", "Duplicate ID 'a' for drive");
}

static void other_formats_are_seen_by_their_first_bytes(void **state)
{
	static const struct {
		const char *name;
		unsigned offset, length;
		const char *bytes;
	} cases[] = {
		{"qcow2", 0, 8, "QFI\xfb\0\0\0\3"},
		{"vmdk", 0, 4, "KDMV"},
		{"vhdx", 0, 8, "vhdxfile"},
		{"vdi", 64, 4, "\x7f\x10\xda\xbe"},
		{"luks", 0, 6, "LUKS\xba\xbe"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char expected[160];
		struct block_backend *blk;
		int fd;

		make_image(MIB, false);
		fd = open(image, O_WRONLY);
		assert_int_equal(pwrite(fd, cases[i].bytes, cases[i].length, cases[i].offset),
			(ssize_t)cases[i].length);
		close(fd);
		snprintf(expected, sizeof(expected),
			"'%%s' is a %s image, which is not supported (format=raw forces raw)",
			cases[i].name);
		refuses(drive, "file=%s", expected);
		blk = drive("file=%s,format=raw");
		assert_non_null(blk);
		block_close(blk);
		unlink(image);
	}
	make_image(MIB, true);
	assert_non_null(drive("file=%s"));
}

static void two_writers_keep_each_other_out(void **state)
{
	struct block_backend *blk;

	make_image(MIB, false);
	blk = drive("file=%s,format=raw,id=a");
	assert_non_null(blk);
	refuses(drive, "file=%s,format=raw,id=b",
		"Failed to get \"write\" lock: Is another process using the image [%s]?");
	refuses(drive, "file=%s,format=raw,id=b,readonly=on",
		"Failed to get shared \"write\" lock: Is another process using the image [%s]?");
	refuses(drive, "file=%s,format=raw,id=b,snapshot=on",
		"Failed to get shared \"write\" lock: Is another process using the image [%s]?");
	assert_non_null(drive("file=%s,format=raw,id=b,file.locking=off"));
	block_close_all();
	assert_non_null(drive("file=%s,format=raw,id=a,readonly=on"));
	assert_non_null(drive("file=%s,format=raw,id=b,readonly=on"));
	refuses(drive, "file=%s,format=raw,id=c",
		"Failed to get \"write\" lock: Is another process using the image [%s]?");
}

static void a_snapshot_leaves_the_image_alone(void **state)
{
	unsigned char data[8192], back[8192];
	struct block_backend *blk;
	FILE *file;

	make_image(MIB, true);
	assert_int_equal(chmod(image, 0444), 0);
	blk = drive("file=%s,format=raw,snapshot=on");
	assert_non_null(blk);
	assert_false(block_is_readonly(blk));
	memset(data, 0xdd, sizeof(data));
	for (uint64_t at = 0; at < MIB; at += 3 * 4096)
		assert_int_equal(request(blk, BLOCK_WRITE, at, data, 512, 0), 0);
	assert_int_equal(request(blk, BLOCK_READ, 3 * 4096 - 512, back, 2048, 0), 0);
	assert_int_equal(back[511], 24);
	assert_int_equal(back[512], 0xdd);
	assert_int_equal(back[1023], 0xdd);
	assert_int_equal(back[1024], 26);
	/* A read of everything is a walk over many extents. */
	for (uint64_t at = 0; at + 8192 <= MIB; at += 8192) {
		assert_int_equal(request(blk, BLOCK_READ, at, back, 8192, 0), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_int_equal(back[i * 512 + 100],
				(at + i * 512) % (3 * 4096) ? 1 + (at / 512 + i) % 250 : 0xdd);
	}
	assert_int_equal(block_resize(blk, 2 * MIB, &last_error), 0);
	assert_int_equal(request(blk, BLOCK_WRITE, 2 * MIB - 512, data, 512, 0), 0);
	assert_int_equal(request(blk, BLOCK_READ, MIB, back, 8192, 0), 0);
	assert_int_equal(back[0], 0);
	block_close(blk);
	file = fopen(image, "rb");
	for (unsigned i = 0; i < MIB / 512; i++) {
		assert_int_equal(fread(back, 1, 512, file), 512);
		assert_int_equal(back[7], 1 + i % 250);
	}
	assert_int_equal(fread(back, 1, 1, file), 0);
	fclose(file);
}

static int resized_count;

static void resized(void *opaque)
{
	resized_count++;
}

static void one_user_a_drive(void **state)
{
	struct block_user first = {.resized = resized}, second = {0};
	struct block_backend *blk, *empty;

	make_image(MIB, false);
	blk = drive("file=%s,format=raw,id=d,serial=S123");
	empty = drive("id=e");
	assert_non_null(empty);
	assert_string_equal(block_serial(blk), "S123");
	assert_int_equal(block_attach(blk, &first, &last_error), 0);
	assert_int_equal(block_attach(blk, &second, &last_error), -EBUSY);
	assert_string_equal(last_error.text, "Drive 'd' is already in use by another device");
	assert_int_equal(block_attach(empty, &second, &last_error), -ENOMEDIUM);
	resized_count = 0;
	assert_int_equal(block_resize(blk, 2 * MIB, &last_error), 0);
	assert_int_equal(resized_count, 1);
	block_detach(blk, &first);
	assert_int_equal(block_attach(blk, &second, &last_error), 0);
}

static void nodes_refer_to_nodes(void **state)
{
	struct block_user user = {0};
	struct block_backend *file, *raw;
	unsigned char data[512];

	make_image(MIB, true);
	file = node("file,node-name=f,filename=%s,cache.direct=on,aio=native");
	assert_non_null(file);
	raw = node("raw,node-name=r,file=f");
	assert_non_null(raw);
	assert_ptr_equal(block_find("r"), raw);
	assert_int_equal(block_attach(file, &user, &last_error), -EBUSY);
	assert_int_equal(block_attach(raw, &user, &last_error), 0);
	assert_int_equal(block_size(raw), MIB);
	assert_int_equal(request(raw, BLOCK_READ, 1024, data, 512, 0), 0);
	assert_int_equal(data[0], 3);
	refuses(node, "raw,node-name=s,file=f", "Node 'f' is busy");
	block_close_all();
	raw = node("raw,node-name=r,file.driver=file,file.filename=%s,read-only=on");
	assert_non_null(raw);
	assert_true(block_is_readonly(raw));
}

/* Requests of several iothreads and of the test's own loop on one drive at the same time. */
#define LOOPS	 3
#define REQUESTS 200

struct load {
	struct block_backend *blk;
	struct loop *loop;
	struct loop_task task;
	struct block_request request;
	struct iovec iov;
	unsigned char data[4096];
	unsigned number, left;
	int failures;
	pthread_mutex_t lock;
	pthread_cond_t over;
	bool finished;
};

static void load_next(void *opaque);

static void load_done(struct block_request *request, int result)
{
	struct load *load = request->opaque;

	load->failures += result != 0 || !loop_is_current(load->loop);
	if (request->operation == BLOCK_READ)
		load->failures += load->data[0] != (unsigned char)(load->left + load->number);
	load_next(load);
}

static void load_next(void *opaque)
{
	struct load *load = opaque;
	bool reads = load->request.operation == BLOCK_WRITE;

	if (!reads && load->left-- == 0) {
		pthread_mutex_lock(&load->lock);
		load->finished = true;
		pthread_cond_signal(&load->over);
		pthread_mutex_unlock(&load->lock);
		return;
	}
	memset(load->data, reads ? 0 : load->left + load->number, sizeof(load->data));
	load->request.operation = reads ? BLOCK_READ : BLOCK_WRITE;
	block_submit(load->blk, &load->request);
}

static void loops_share_a_drive(void **state)
{
	static const char *const drives[] = {"file=%s,format=raw", "file=%s,format=raw,aio=threads",
		"file=%s,format=raw,snapshot=on"};
	static const char *const names[LOOPS] = {"id=io0", "id=io1,poll-max-ns=0", "id=io2"};
	static struct load loads[LOOPS];

	make_image(MIB, false);
	for (int i = 0; i < LOOPS; i++) {
		struct keyvals *kv = keyvals_parse("-object", names[i], NULL, &last_error);

		assert_int_equal(iothread_create(kv, &last_error), 0);
		assert_null(keyvals_left(kv));
		keyvals_free(kv);
	}
	for (int d = 0; d < 3; d++) {
		struct block_backend *blk = drive(drives[d]);

		assert_non_null(blk);
		for (int i = 0; i < LOOPS; i++) {
			struct load *load = &loads[i];
			char id[8];

			snprintf(id, sizeof(id), "io%d", i);
			memset(load, 0, sizeof(*load));
			*load = (struct load){.blk = blk, .number = i, .left = REQUESTS};
			load->loop = iothread_find(id)->loop;
			load->iov = (struct iovec){.iov_base = load->data, .iov_len = 4096};
			load->request = (struct block_request){.operation = BLOCK_READ,
				.offset = i * 4096,
				.bytes = 4096,
				.iov = &load->iov,
				.iov_count = 1,
				.loop = load->loop,
				.done = load_done,
				.opaque = load};
			pthread_mutex_init(&load->lock, NULL);
			pthread_cond_init(&load->over, NULL);
			load->task = (struct loop_task){.run = load_next, .opaque = load};
			loop_post(load->loop, &load->task);
		}
		for (int i = 0; i < LOOPS; i++) {
			pthread_mutex_lock(&loads[i].lock);
			while (!loads[i].finished)
				pthread_cond_wait(&loads[i].over, &loads[i].lock);
			pthread_mutex_unlock(&loads[i].lock);
			assert_int_equal(loads[i].failures, 0);
		}
		block_close(blk);
	}
}

/* The main loop's own way: collected in a turn, delivered by it. */
struct turn {
	struct loop_task task;
	struct block_backend *blk;
	struct waiting waiting[40];
	struct iovec iov[40];
	unsigned char data[40][512];
	int left;
};

static void turn_done(struct block_request *request, int result)
{
	struct turn *turn = request->opaque;

	assert_int_equal(result, 0);
	if (--turn->left == 0)
		loop_stop(main_loop);
}

static void turn_start(void *opaque)
{
	struct turn *turn = opaque;

	turn->left = 40;
	for (int i = 0; i < 40; i++) {
		turn->iov[i] = (struct iovec){.iov_base = turn->data[i], .iov_len = 512};
		start(turn->blk, &turn->waiting[i], BLOCK_READ, i * 512, 512, &turn->iov[i], 1, 0);
		turn->waiting[i].request.done = turn_done;
		turn->waiting[i].request.opaque = turn;
	}
}

static void a_running_loop_delivers(void **state)
{
	static const char *const drives[] = {"file=%s,format=raw", "file=%s,format=raw,aio=threads",
		"file=%s,format=raw,cache=none,aio=native", "file=%s,format=raw,cache=none"};
	static struct turn turn;

	make_image(MIB, true);
	for (int d = 0; d < 4; d++) {
		turn.blk = drive(drives[d]);
		turn.task = (struct loop_task){.run = turn_start, .opaque = &turn};
		loop_post(main_loop, &turn.task);
		loop_run(main_loop);
		assert_int_equal(turn.left, 0);
		block_close(turn.blk);
	}
}

static void iothread_options(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{"poll-max-ns=1", "Parameter 'id' is missing"},
		{"id=t,poll-max-ns=x", NULL},
		{"id=t", ""},
		{"id=t", "attempt to add duplicate property 't' to object (type 'container')"},
	};

	for (int i = 0; i < 4; i++) {
		struct keyvals *kv = keyvals_parse("-object", cases[i].text, NULL, &last_error);
		int rc;

		last_error.text[0] = 0;
		rc = iothread_create(kv, &last_error);
		assert_int_equal(rc == 0, i == 2);
		if (cases[i].sentence)
			assert_string_equal(last_error.text, cases[i].sentence);
		keyvals_free(kv);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_LOOP(bad_drives_are_refused_with_qemus_sentence),
		WITH_LOOP(other_formats_are_seen_by_their_first_bytes),
		WITH_LOOP(two_writers_keep_each_other_out),
		WITH_LOOP(a_snapshot_leaves_the_image_alone),
		WITH_LOOP(one_user_a_drive),
		WITH_LOOP(nodes_refer_to_nodes),
		WITH_LOOP(loops_share_a_drive),
		WITH_LOOP(a_running_loop_delivers),
		WITH_LOOP(iothread_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
