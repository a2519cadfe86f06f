PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE schema_phases (
	revision TEXT NOT NULL, 
	phase TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (revision)
);
INSERT INTO schema_phases VALUES('0001','expand','2026-11-30T12:05:48.111809+00:00');
INSERT INTO schema_phases VALUES('0002','expand','2026-11-30T12:05:48.168236+00:00');
INSERT INTO schema_phases VALUES('0003','expand','2026-11-30T12:05:48.208240+00:00');
INSERT INTO schema_phases VALUES('0004','expand','2026-11-30T12:05:48.245596+00:00');
INSERT INTO schema_phases VALUES('0005','expand','2026-11-30T12:05:48.287852+00:00');
INSERT INTO schema_phases VALUES('0006','expand','2026-11-30T12:05:48.321943+00:00');
INSERT INTO schema_phases VALUES('0007','expand','2026-11-30T12:05:48.354342+00:00');
INSERT INTO schema_phases VALUES('0008','expand','2026-11-30T12:05:48.377574+00:00');
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO alembic_version VALUES('0008');
CREATE TABLE compute_quotas (
	project_id VARCHAR(64) NOT NULL, 
	resource VARCHAR(64) NOT NULL, 
	value INTEGER NOT NULL, 
	CONSTRAINT pk_compute_quotas PRIMARY KEY (project_id, resource)
);
CREATE TABLE conductors (
	incarnation TEXT NOT NULL, 
	host TEXT NOT NULL, 
	group_name TEXT NOT NULL, 
	beat INTEGER NOT NULL, 
	beat_at TEXT NOT NULL, 
	started_at TEXT NOT NULL, 
	roles TEXT NOT NULL, 
	info TEXT NOT NULL, 
	CONSTRAINT pk_conductors PRIMARY KEY (incarnation)
);
INSERT INTO conductors VALUES('vm:0ea6b210aecb gone','vm','',15,'2026-11-30T12:07:46.808727+00:00','2026-11-30T12:07:15.357575+00:00','["api","conductor","console"]','{"drivers":["redfish","ipmi","manual-management","fake-hardware"],"keys":{"deploy-url-key":["dfb4c06dc27b9471"],"fernet-keys":["b6d7ed97b8bc3c14"]},"address":"127.0.0.1:7300","process":"3c4039a3-6357-496c-a5e3-ff8d5c1a668c pid:[4026531836] 29333 142763"}');
CREATE TABLE events (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at TEXT NOT NULL, 
	subject TEXT NOT NULL, 
	operation_id TEXT, 
	kind TEXT NOT NULL, 
	title TEXT NOT NULL, 
	step TEXT, 
	data TEXT NOT NULL, 
	project_id TEXT, 
	severity TEXT NOT NULL
);
INSERT INTO events VALUES(1,'2026-11-30T12:05:56.622033+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0',NULL,'node created','Enrolled',NULL,'{}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(2,'2026-11-30T12:05:59.632321+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0',NULL,'port created','Port 52:54:00:00:00:01 was added',NULL,'{}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(3,'2026-11-30T12:06:03.348357+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0',NULL,'console','Console opened',NULL,'{}',NULL,'info');
INSERT INTO events VALUES(4,'2026-11-30T12:06:04.633166+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','operation.started','verify',NULL,'{"operation":"verify","requested_by":"627c1d13b95c454e989d1315527b0ece"}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(5,'2026-11-30T12:06:04.653455+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.started','ask the controller','ask the controller','{"operation":"verify","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:09:04.653391+00:00","rule":{"default":180,"least":180}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(6,'2026-11-30T12:06:04.658370+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.done','ask the controller','ask the controller','{"operation":"verify","duration":0.004952,"attempt":1,"log":["the controller answers: power off"]}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(7,'2026-11-30T12:06:04.665913+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.done','forget the old identity','forget the old identity','{"operation":"verify","duration":0.001883}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(8,'2026-11-30T12:06:04.670600+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.started','prove the controller','prove the controller','{"operation":"verify","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:09:04.670544+00:00","rule":{"default":180,"least":180}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(9,'2026-11-30T12:06:04.671021+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.done','prove the controller','prove the controller','{"operation":"verify","duration":0.000461,"attempt":1,"log":["first meeting"]}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(10,'2026-11-30T12:06:04.678843+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.started','read the machine''s settings','read the machine''s settings','{"operation":"verify","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:09:04.678801+00:00","rule":{"default":180,"least":180}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(11,'2026-11-30T12:06:04.679512+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','step.done','read the machine''s settings','read the machine''s settings','{"operation":"verify","duration":0.000694,"attempt":1}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(12,'2026-11-30T12:06:04.687697+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','4ccbf650-67d2-4687-a1eb-ee234e32c118','operation.done','Verify',NULL,'{"operation":"verify","duration":0.055016}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(13,'2026-11-30T12:07:29.766733+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','operation.started','clean',NULL,'{"operation":"clean","requested_by":"627c1d13b95c454e989d1315527b0ece"}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(14,'2026-11-30T12:07:29.806150+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.started','prove the controller','prove the controller','{"operation":"clean","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:10:29.806093+00:00","rule":{"default":180,"least":180}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(15,'2026-11-30T12:07:29.806855+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.done','prove the controller','prove the controller','{"operation":"clean","duration":0.000738,"attempt":1,"log":["uuid agrees: af421f85-60f4-51a7-9cb8-3bbd2ac08853","serial agrees: FAKEAF421F8560","mac in common: 02:af:42:1f:85:60"]}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(16,'2026-11-30T12:07:29.815318+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.done','show the clean step [1 vendor.log_passthrough]','show the clean step [1 vendor.log_passthrough]','{"operation":"clean","duration":0.00078}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(17,'2026-11-30T12:07:29.821301+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.started','clean step [1 vendor.log_passthrough]','clean step [1 vendor.log_passthrough]','{"operation":"clean","attempt":1,"expected":null,"deadline_at":"2026-12-01T12:07:29.821254+00:00","rule":{"default":86400,"least":86400}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(18,'2026-11-30T12:07:29.821745+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.done','clean step [1 vendor.log_passthrough]','clean step [1 vendor.log_passthrough]','{"operation":"clean","duration":0.000473,"attempt":1}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(19,'2026-11-30T12:07:29.827135+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.started','read the machine''s settings','read the machine''s settings','{"operation":"clean","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:10:29.827096+00:00","rule":{"default":180,"least":180}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(20,'2026-11-30T12:07:29.827686+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','step.done','read the machine''s settings','read the machine''s settings','{"operation":"clean","duration":0.000568,"attempt":1}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(21,'2026-11-30T12:07:29.839305+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','353284ae-3b10-4f55-91b5-6f3095d7210f','operation.done','Clean',NULL,'{"operation":"clean","duration":0.073251}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(22,'2026-11-30T12:07:36.515558+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','operation.started','server create',NULL,'{"operation":"server create","requested_by":"627c1d13b95c454e989d1315527b0ece"}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(23,'2026-11-30T12:07:36.521299+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','step.started','look at the image','look at the image','{"operation":"server create","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:08:36.521248+00:00","rule":{"default":60}}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(24,'2026-11-30T12:07:36.521566+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','step.done','look at the image','look at the image','{"operation":"server create","duration":0.000302,"attempt":1}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(25,'2026-11-30T12:07:36.530060+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','step.done','find a machine [1]','find a machine [1]','{"operation":"server create","duration":0.007724}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(26,'2026-11-30T12:07:36.535372+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','step.done','make the network ports','make the network ports','{"operation":"server create","duration":0.004358}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(27,'2026-11-30T12:07:36.548776+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','operation.started','deploy',NULL,'{"operation":"deploy","requested_by":""}',NULL,'info');
INSERT INTO events VALUES(28,'2026-11-30T12:07:36.548850+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','step.done','start the deploy [1]','start the deploy [1]','{"operation":"server create","duration":0.012757}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(29,'2026-11-30T12:07:36.551841+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','wait.started','machine n1 to be deployed','wait for the deploy [1]','{"operation":"server create","signal":"deploy ended","what":"machine n1 to be deployed","deadline_at":"2026-11-30T18:07:36.549495+00:00","expected":null}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(30,'2026-11-30T12:07:36.552219+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','choose the deploy steps','choose the deploy steps','{"operation":"deploy","duration":0.001143}',NULL,'info');
INSERT INTO events VALUES(31,'2026-11-30T12:07:36.553159+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','show the deploy step [1 deploy.deploy]','show the deploy step [1 deploy.deploy]','{"operation":"deploy","duration":0.000575}',NULL,'info');
INSERT INTO events VALUES(32,'2026-11-30T12:07:36.553795+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.started','deploy step [1 deploy.deploy]','deploy step [1 deploy.deploy]','{"operation":"deploy","attempt":1,"expected":null,"deadline_at":"2026-12-01T12:07:36.553689+00:00","rule":{"default":86400,"least":86400}}',NULL,'info');
INSERT INTO events VALUES(33,'2026-11-30T12:07:36.554096+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','deploy step [1 deploy.deploy]','deploy step [1 deploy.deploy]','{"operation":"deploy","duration":0.000386,"attempt":1}',NULL,'info');
INSERT INTO events VALUES(34,'2026-11-30T12:07:36.554988+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.started','boot from disk from now on','boot from disk from now on','{"operation":"deploy","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:10:36.554957+00:00","rule":{"default":180,"least":180}}',NULL,'info');
INSERT INTO events VALUES(35,'2026-11-30T12:07:36.555171+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','boot from disk from now on','boot from disk from now on','{"operation":"deploy","duration":0.000201,"attempt":1}',NULL,'info');
INSERT INTO events VALUES(36,'2026-11-30T12:07:36.556324+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','attach the instance''s networks','attach the instance''s networks','{"operation":"deploy","duration":0.000173}',NULL,'info');
INSERT INTO events VALUES(37,'2026-11-30T12:07:36.556851+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.started','start the instance','start the instance','{"operation":"deploy","attempt":1,"expected":null,"deadline_at":"2026-11-30T12:10:36.556819+00:00","rule":{"default":180,"least":180}}',NULL,'info');
INSERT INTO events VALUES(38,'2026-11-30T12:07:36.557079+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','step.done','start the instance','start the instance','{"operation":"deploy","duration":0.000248,"attempt":1,"log":["power off -> power on by power on"]}',NULL,'info');
INSERT INTO events VALUES(39,'2026-11-30T12:07:36.558345+00:00','node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','5aa4eb79-d887-4b39-87ef-4d5e813ead5d','operation.done','Deploy',NULL,'{"operation":"deploy","duration":0.009661}',NULL,'info');
INSERT INTO events VALUES(40,'2026-11-30T12:07:36.562895+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','wait.done','wait for the deploy [1]','wait for the deploy [1]','{"operation":"server create","duration":0.013135,"signal":"deploy ended"}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
INSERT INTO events VALUES(41,'2026-11-30T12:07:36.563140+00:00','server:77f65a93-fb88-4b34-b7a2-d209f640473e','3284de4e-98c3-4092-843f-1b13f78f1d5e','operation.done','Create server',NULL,'{"operation":"server create","duration":0.047861}','a32823b925c34c3bb4b7d7bb6c472ff0','info');
CREATE TABLE flavors (
	number INTEGER NOT NULL, 
	id VARCHAR(255) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	vcpus INTEGER NOT NULL, 
	ram INTEGER NOT NULL, 
	disk INTEGER NOT NULL, 
	ephemeral INTEGER NOT NULL, 
	swap INTEGER NOT NULL, 
	rxtx_factor FLOAT NOT NULL, 
	is_public BOOLEAN NOT NULL, 
	description TEXT, 
	extra_specs TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_flavors PRIMARY KEY (number), 
	CONSTRAINT uq_flavors_id UNIQUE (id), 
	CONSTRAINT uq_flavors_name UNIQUE (name)
);
INSERT INTO flavors VALUES(1,'5cb964ef-6b20-4985-88f6-8880e0665995','f1',1,512,10,0,0,1.0,1,NULL,'{"resources:CUSTOM_BAREMETAL":"1","resources:VCPU":"0","resources:MEMORY_MB":"0","resources:DISK_GB":"0"}','2026-11-30T12:07:23.347108+00:00','2026-11-30T12:07:23.352516+00:00');
CREATE TABLE identity_endpoints (
	id VARCHAR(64) NOT NULL, 
	service_id VARCHAR(64) NOT NULL, 
	interface VARCHAR(8) NOT NULL, 
	region_id VARCHAR(255), 
	url TEXT NOT NULL, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_endpoints PRIMARY KEY (id)
);
CREATE TABLE identity_groups (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(64) NOT NULL, 
	domain_id VARCHAR(64) NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_groups PRIMARY KEY (id), 
	CONSTRAINT uq_identity_groups_domain_id_name UNIQUE (domain_id, name)
);
CREATE TABLE identity_projects (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	domain_id VARCHAR(64) DEFAULT '' NOT NULL, 
	parent_id VARCHAR(64) DEFAULT '' NOT NULL, 
	is_domain BOOLEAN DEFAULT 0 NOT NULL, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	generation INTEGER DEFAULT '0' NOT NULL, 
	tags TEXT DEFAULT '[]' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_projects PRIMARY KEY (id), 
	CONSTRAINT uq_identity_projects_domain_id_is_domain_name UNIQUE (domain_id, is_domain, name)
);
INSERT INTO identity_projects VALUES('default','Default','','',1,1,'The default domain',0,'[]','{}');
INSERT INTO identity_projects VALUES('a32823b925c34c3bb4b7d7bb6c472ff0','admin','default','default',0,1,'Bootstrap project of the administrator.',0,'[]','{}');
INSERT INTO identity_projects VALUES('e9932da7b5134d8884d4061bb3735e56','demo','default','default',0,1,'A plain tenant to try things with.',0,'[]','{}');
INSERT INTO identity_projects VALUES('eae300d34bdd4c33b2506ce40b79ad63','service','default','default',0,1,'Where services of others get their users.',0,'[]','{}');
CREATE TABLE identity_regions (
	id VARCHAR(255) NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	parent_region_id VARCHAR(255), 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_regions PRIMARY KEY (id)
);
INSERT INTO identity_regions VALUES('RegionOne','',NULL,'{}');
CREATE TABLE identity_revocations (
	audit_id VARCHAR(64) NOT NULL, 
	expires_at VARCHAR(40) NOT NULL, 
	CONSTRAINT pk_identity_revocations PRIMARY KEY (audit_id)
);
CREATE TABLE identity_roles (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	domain_id VARCHAR(64) DEFAULT '' NOT NULL, 
	description TEXT, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_roles PRIMARY KEY (id), 
	CONSTRAINT uq_identity_roles_domain_id_name UNIQUE (domain_id, name)
);
INSERT INTO identity_roles VALUES('688af25646ad47838b585266e4328bc2','admin','',NULL,'{}');
INSERT INTO identity_roles VALUES('4ed66718d84c424ab1d023512221a7bd','manager','',NULL,'{}');
INSERT INTO identity_roles VALUES('28f69182db6c4ac497699f65523c3a85','member','',NULL,'{}');
INSERT INTO identity_roles VALUES('c384f1fcd7fd416b91ab392352e9e1f3','reader','',NULL,'{}');
INSERT INTO identity_roles VALUES('03532ef2e03547588af2cef16a97e1bb','service','',NULL,'{}');
CREATE TABLE identity_services (
	id VARCHAR(64) NOT NULL, 
	type VARCHAR(255) NOT NULL, 
	name VARCHAR(255) DEFAULT '' NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_services PRIMARY KEY (id)
);
CREATE TABLE identity_state (
	id INTEGER NOT NULL, 
	epoch INTEGER NOT NULL, 
	CONSTRAINT pk_identity_state PRIMARY KEY (id)
);
INSERT INTO identity_state VALUES(1,8);
CREATE TABLE identity_users (
	id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	domain_id VARCHAR(64) NOT NULL, 
	enabled BOOLEAN DEFAULT 1 NOT NULL, 
	password_hash VARCHAR(255), 
	default_project_id VARCHAR(64), 
	description TEXT, 
	generation INTEGER DEFAULT '0' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_identity_users PRIMARY KEY (id), 
	CONSTRAINT uq_identity_users_domain_id_name UNIQUE (domain_id, name)
);
INSERT INTO identity_users VALUES('627c1d13b95c454e989d1315527b0ece','admin','default',1,'$scrypt$ln=15,r=8,p=1$r35uySdTNHS70mCnsA7DvA$WnuQdQJK6QoN9Euib4hCkkj4zH489U5utQuQIdTeLBs','a32823b925c34c3bb4b7d7bb6c472ff0',NULL,0,'{}');
INSERT INTO identity_users VALUES('0d774399ac0c4956b9df917bfc304dfb','demo','default',1,'$scrypt$ln=15,r=8,p=1$Hd782xVPN2SQM5h27fPIFw$Oy8QzdzEk221hUD+zwACMPsF5Jy0qfHgcDofvdlNH0k','e9932da7b5134d8884d4061bb3735e56',NULL,0,'{}');
CREATE TABLE image_images (
	id VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	status VARCHAR(16) NOT NULL, 
	owner VARCHAR(64), 
	visibility VARCHAR(16) NOT NULL, 
	disk_format VARCHAR(20), 
	container_format VARCHAR(20), 
	size BIGINT, 
	virtual_size BIGINT, 
	checksum VARCHAR(32), 
	sha256 VARCHAR(64), 
	os_hash_algo VARCHAR(16), 
	os_hash_value VARCHAR(128), 
	min_disk INTEGER DEFAULT '0' NOT NULL, 
	min_ram INTEGER DEFAULT '0' NOT NULL, 
	protected BOOLEAN DEFAULT 0 NOT NULL, 
	os_hidden BOOLEAN DEFAULT 0 NOT NULL, 
	receiver VARCHAR(255), 
	created_at VARCHAR(40) NOT NULL, 
	updated_at VARCHAR(40) NOT NULL, 
	properties TEXT DEFAULT '{}' NOT NULL, 
	tags TEXT DEFAULT '[]' NOT NULL, 
	CONSTRAINT pk_image_images PRIMARY KEY (id)
);
INSERT INTO image_images VALUES('9909e182-2e25-4735-9126-b84b34520de4','i1','active','a32823b925c34c3bb4b7d7bb6c472ff0','shared','raw','bare',300000,300000,'b165dd3642bb41c7ca8dbee0fd2b2aae','bef28ffb53ecc2db8e39bdd5d8d8bc2952befe29b446e500182f3af2b62d7b6c','sha512','07464314748fe1e3d4dfd0135acb84ec699ba7cadbe0ec9cb9280d389a1b310a708250516c68fdb5a33c8114bcb53f595083bb23a89595d6754bc7e93313934f',0,0,0,0,NULL,'2026-11-30T12:05:53.629957+00:00','2026-11-30T12:05:53.761380+00:00','{"owner_specified.openstack.md5":"","owner_specified.openstack.sha256":"","owner_specified.openstack.object":"images/i1"}','[]');
INSERT INTO image_images VALUES('1e55c4f0-0000-4000-8000-000000000002','i2','saving','a32823b925c34c3bb4b7d7bb6c472ff0','shared','raw','bare',NULL,300000,NULL,'bef28ffb53ecc2db8e39bdd5d8d8bc2952befe29b446e500182f3af2b62d7b6c',NULL,NULL,0,0,0,0,'gone-host','2026-11-30T12:05:53.629957+00:00','2026-01-01T00:00:00.000000+00:00','{"owner_specified.openstack.md5":"","owner_specified.openstack.sha256":"","owner_specified.openstack.object":"images/i1"}','[]');
CREATE TABLE keypairs (
	number INTEGER NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	type VARCHAR(16) NOT NULL, 
	public_key TEXT NOT NULL, 
	fingerprint VARCHAR(255) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_keypairs PRIMARY KEY (number), 
	CONSTRAINT uq_keypairs_user_id_name UNIQUE (user_id, name)
);
INSERT INTO keypairs VALUES(1,'627c1d13b95c454e989d1315527b0ece','k1','ssh',replace('ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPzLiLde9lVgkoqLzBCgLU1WvOLF+pXxB3TxxNKvZQcO root@vm\n','\n',char(10)),'d1:92:3f:e3:1a:ac:19:5b:93:a2:04:fa:08:d9:ef:68','2026-11-30T12:06:06.528209+00:00');
CREATE TABLE network_generations (
	id VARCHAR(16) NOT NULL, 
	generation INTEGER NOT NULL, 
	CONSTRAINT pk_network_generations PRIMARY KEY (id)
);
INSERT INTO network_generations VALUES('dhcp',4);
CREATE TABLE network_quotas (
	project_id VARCHAR(64) NOT NULL, 
	resource VARCHAR(32) NOT NULL, 
	most INTEGER NOT NULL, 
	CONSTRAINT pk_network_quotas PRIMARY KEY (project_id, resource)
);
CREATE TABLE networks (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	revision_number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	tags TEXT NOT NULL, 
	admin_state_up BOOLEAN NOT NULL, 
	shared BOOLEAN NOT NULL, 
	external BOOLEAN NOT NULL, 
	is_default BOOLEAN NOT NULL, 
	mtu INTEGER NOT NULL, 
	network_type VARCHAR(32) NOT NULL, 
	physical_network VARCHAR(64), 
	segmentation_id INTEGER, 
	port_security_enabled BOOLEAN NOT NULL, 
	availability_zone_hints TEXT NOT NULL, 
	CONSTRAINT pk_networks PRIMARY KEY (id), 
	CONSTRAINT uq_networks_physical_network UNIQUE (physical_network)
);
INSERT INTO networks VALUES('7a575360-6f78-47a5-add9-4a5946dad79f','a32823b925c34c3bb4b7d7bb6c472ff0','',0,'2026-11-30T12:07:20.341786+00:00','2026-11-30T12:07:20.341786+00:00','net1','[]',1,1,0,0,1500,'flat','physnet1',NULL,1,'[]');
CREATE TABLE nodes (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	driver VARCHAR(255) NOT NULL, 
	bios_interface VARCHAR(255), 
	boot_interface VARCHAR(255), 
	console_interface VARCHAR(255), 
	deploy_interface VARCHAR(255), 
	firmware_interface VARCHAR(255), 
	inspect_interface VARCHAR(255), 
	management_interface VARCHAR(255), 
	network_interface VARCHAR(255), 
	power_interface VARCHAR(255), 
	raid_interface VARCHAR(255), 
	rescue_interface VARCHAR(255), 
	storage_interface VARCHAR(255), 
	vendor_interface VARCHAR(255), 
	driver_info TEXT DEFAULT '{}' NOT NULL, 
	driver_internal_info TEXT DEFAULT '{}' NOT NULL, 
	properties TEXT DEFAULT '{}' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	instance_info TEXT DEFAULT '{}' NOT NULL, 
	instance_uuid VARCHAR(36), 
	instance_name VARCHAR(255), 
	power_state VARCHAR(15), 
	target_power_state VARCHAR(15), 
	provision_state VARCHAR(20) NOT NULL, 
	target_provision_state VARCHAR(20), 
	provision_updated_at VARCHAR(32), 
	last_error TEXT, 
	reservation VARCHAR(255), 
	maintenance BOOLEAN DEFAULT 0 NOT NULL, 
	maintenance_reason TEXT, 
	fault VARCHAR(255), 
	console_enabled BOOLEAN DEFAULT 0 NOT NULL, 
	inspection_started_at VARCHAR(32), 
	inspection_finished_at VARCHAR(32), 
	clean_step TEXT DEFAULT '{}' NOT NULL, 
	deploy_step TEXT DEFAULT '{}' NOT NULL, 
	service_step TEXT DEFAULT '{}' NOT NULL, 
	raid_config TEXT DEFAULT '{}' NOT NULL, 
	target_raid_config TEXT DEFAULT '{}' NOT NULL, 
	resource_class VARCHAR(80), 
	conductor_group VARCHAR(255) DEFAULT '' NOT NULL, 
	automated_clean BOOLEAN, 
	protected BOOLEAN DEFAULT 0 NOT NULL, 
	protected_reason TEXT, 
	owner VARCHAR(255), 
	lessee VARCHAR(255), 
	description TEXT, 
	retired BOOLEAN DEFAULT 0 NOT NULL, 
	retired_reason TEXT, 
	network_data TEXT DEFAULT '{}' NOT NULL, 
	boot_mode VARCHAR(16), 
	secure_boot BOOLEAN, 
	shard VARCHAR(255), 
	parent_node VARCHAR(36), 
	disable_power_off BOOLEAN DEFAULT 0 NOT NULL, 
	health VARCHAR(16), 
	chassis_uuid VARCHAR(36), 
	allocation_uuid VARCHAR(36), 
	boot_intent TEXT, 
	CONSTRAINT pk_nodes PRIMARY KEY (id), 
	CONSTRAINT uq_nodes_instance_uuid UNIQUE (instance_uuid), 
	CONSTRAINT uq_nodes_name UNIQUE (name), 
	CONSTRAINT uq_nodes_uuid UNIQUE (uuid)
);
INSERT INTO nodes VALUES(1,'2a4bcc00-f336-4887-831c-f5ebc63e80e0','n1','2026-11-30T12:05:56.620626+00:00','2026-11-30T12:07:36.548593+00:00','fake-hardware','fake','fake','fake','fake','fake','fake','fake','noop','fake','fake','fake','noop','fake','{}','{"bmc_identity":{"uuid":"af421f85-60f4-51a7-9cb8-3bbd2ac08853","serial":"FAKEAF421F8560","manufacturer":"Imaginary","model":"Fake","macs":["02:af:42:1f:85:60"]},"started_at":"2026-11-30T12:07:36.557164+00:00"}','{"cpus":4,"memory_mb":4096,"local_gb":40,"cpu_arch":"x86_64"}','{}','{"image_source":"9909e182-2e25-4735-9126-b84b34520de4","display_name":"srv1","vcpus":"1","memory_mb":"512","local_gb":"10","root_gb":"10","nova_host_id":"vm"}','77f65a93-fb88-4b34-b7a2-d209f640473e','srv1','power on',NULL,'active',NULL,'2026-11-30T12:07:36.558762+00:00',NULL,NULL,0,NULL,NULL,1,NULL,NULL,'{}','{}','{}','{}','{}','baremetal','',NULL,0,NULL,'a32823b925c34c3bb4b7d7bb6c472ff0',NULL,NULL,0,NULL,'{}','uefi',0,NULL,NULL,0,NULL,NULL,NULL,'{"boot":"disk"}');
CREATE TABLE operations (
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	version INTEGER NOT NULL, 
	subject TEXT NOT NULL, 
	input TEXT NOT NULL, 
	profile TEXT NOT NULL, 
	group_name TEXT NOT NULL, 
	project_id TEXT, 
	request_id TEXT, 
	requested_by TEXT NOT NULL, 
	state TEXT NOT NULL, 
	step TEXT, 
	waiting_for TEXT, 
	what TEXT, 
	wake_at TEXT, 
	parked_at TEXT, 
	owner TEXT, 
	epoch INTEGER NOT NULL, 
	abort_reason TEXT, 
	abort_by TEXT, 
	fault TEXT, 
	result TEXT, 
	created_at TEXT NOT NULL, 
	ended_at TEXT, 
	CONSTRAINT pk_operations PRIMARY KEY (id)
);
INSERT INTO operations VALUES('4ccbf650-67d2-4687-a1eb-ee234e32c118','verify',1,'node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','{"notify":""}','fake-hardware','','a32823b925c34c3bb4b7d7bb6c472ff0','req-37361446-1f12-4ee9-88c4-03286051226c','627c1d13b95c454e989d1315527b0ece','done',NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,'null','2026-11-30T12:06:04.632675+00:00','2026-11-30T12:06:04.687707+00:00');
INSERT INTO operations VALUES('353284ae-3b10-4f55-91b5-6f3095d7210f','clean',1,'node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','{"notify":"","steps":null,"disable_ramdisk":false}','fake-hardware/baremetal','','a32823b925c34c3bb4b7d7bb6c472ff0','req-dc0bb0f0-670e-424b-b563-2e56f1cdc25b','627c1d13b95c454e989d1315527b0ece','done',NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,'null','2026-11-30T12:07:29.766043+00:00','2026-11-30T12:07:29.839317+00:00');
INSERT INTO operations VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e','server create',1,'server:77f65a93-fb88-4b34-b7a2-d209f640473e','{}','','','a32823b925c34c3bb4b7d7bb6c472ff0','req-1371ec30-4373-499d-828e-cc8e3fd85060','627c1d13b95c454e989d1315527b0ece','done','wait for the deploy [1]',NULL,NULL,NULL,'2026-11-30T12:07:36.551344+00:00',NULL,2,NULL,NULL,NULL,'null','2026-11-30T12:07:36.515275+00:00','2026-11-30T12:07:36.563147+00:00');
INSERT INTO operations VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d','deploy',1,'node:2a4bcc00-f336-4887-831c-f5ebc63e80e0','{"notify":"server:77f65a93-fb88-4b34-b7a2-d209f640473e","rebuild":false,"preserve_ephemeral":false,"steps":null}','fake-hardware/baremetal','',NULL,NULL,'','done',NULL,NULL,NULL,NULL,NULL,NULL,1,NULL,NULL,NULL,'null','2026-11-30T12:07:36.548679+00:00','2026-11-30T12:07:36.558515+00:00');
CREATE TABLE security_groups (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	revision_number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	tags TEXT NOT NULL, 
	stateful BOOLEAN NOT NULL, 
	default_of VARCHAR(64), 
	CONSTRAINT pk_security_groups PRIMARY KEY (id), 
	CONSTRAINT uq_security_groups_default_of UNIQUE (default_of)
);
CREATE TABLE server_groups (
	number INTEGER NOT NULL, 
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	policy VARCHAR(32) NOT NULL, 
	rules TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_server_groups PRIMARY KEY (number), 
	CONSTRAINT uq_server_groups_id UNIQUE (id)
);
INSERT INTO server_groups VALUES(1,'0e0bf857-5995-4cb7-9c34-abce02c4c886','a32823b925c34c3bb4b7d7bb6c472ff0','627c1d13b95c454e989d1315527b0ece','g1','affinity','{}','2026-11-30T12:06:08.057176+00:00');
CREATE TABLE servers (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	uuid VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	hostname VARCHAR(255) NOT NULL, 
	description TEXT, 
	vm_state VARCHAR(32) NOT NULL, 
	task_state VARCHAR(64), 
	power_state INTEGER NOT NULL, 
	flavor TEXT NOT NULL, 
	image_id VARCHAR(36), 
	key_name VARCHAR(255), 
	"key" TEXT, 
	config_drive VARCHAR(8) NOT NULL, 
	disk_config VARCHAR(8) NOT NULL, 
	access_ip_v4 VARCHAR(64), 
	access_ip_v6 VARCHAR(64), 
	availability_zone VARCHAR(255), 
	pinned_zone VARCHAR(255), 
	wanted_node VARCHAR(255), 
	reservation_id VARCHAR(32) NOT NULL, 
	launch_index INTEGER NOT NULL, 
	locked BOOLEAN NOT NULL, 
	locked_reason TEXT, 
	networks TEXT NOT NULL, 
	ports TEXT NOT NULL, 
	addresses TEXT NOT NULL, 
	security_groups TEXT NOT NULL, 
	metadata TEXT NOT NULL, 
	tags TEXT NOT NULL, 
	group_id VARCHAR(36), 
	fault TEXT, 
	node_uuid VARCHAR(36), 
	node_name VARCHAR(255), 
	sealed TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	launched_at VARCHAR(32), 
	terminated_at VARCHAR(32), 
	deleted_at VARCHAR(32), 
	CONSTRAINT uq_servers_uuid UNIQUE (uuid)
);
INSERT INTO servers VALUES(1,'77f65a93-fb88-4b34-b7a2-d209f640473e','a32823b925c34c3bb4b7d7bb6c472ff0','627c1d13b95c454e989d1315527b0ece','srv1','srv1',NULL,'active',NULL,1,'{"id":"5cb964ef-6b20-4985-88f6-8880e0665995","name":"f1","vcpus":1,"ram":512,"disk":10,"ephemeral":0,"swap":0,"rxtx_factor":1.0,"is_public":true,"description":null,"extra_specs":{"resources:CUSTOM_BAREMETAL":"1","resources:VCPU":"0","resources:MEMORY_MB":"0","resources:DISK_GB":"0"}}','9909e182-2e25-4735-9126-b84b34520de4','k1','{"name":"k1","type":"ssh","public_key":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPzLiLde9lVgkoqLzBCgLU1WvOLF+pXxB3TxxNKvZQcO root@vm\n"}','True','MANUAL',NULL,NULL,'nova',NULL,NULL,'r-3a471e37',0,0,NULL,'[{"network":"7a575360-6f78-47a5-add9-4a5946dad79f","port":null,"fixed_ip":null}]','[{"port":"73cd95d4-1a93-49e3-85bf-ea41383c4a69","network":"7a575360-6f78-47a5-add9-4a5946dad79f","ours":true}]','[{"label":"net1","addr":"10.9.0.2","version":4,"mac":"52:54:00:00:00:01","port":"73cd95d4-1a93-49e3-85bf-ea41383c4a69"}]','["default"]','{}','[]',NULL,NULL,'2a4bcc00-f336-4887-831c-f5ebc63e80e0','n1','gAAAAABrDWcI0uy_j8SEAocOfNh09El_QyzFV3H8DHYcom3siQCOYdTa--tuN1geVLZJZVYjSI_4Y6TrWa6MoJozW5JwMYprwt1UVcW4rM5UqjAkdHNSqfIBEigOCRFp39O3eoqTSzhsh54qCBv1cSQfVxLSm5OxGA==','2026-11-30T12:07:36.511990+00:00','2026-11-30T12:07:36.563337+00:00','2026-11-30T12:07:36.563253+00:00',NULL,NULL);
CREATE TABLE baremetal_ports (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	node_uuid VARCHAR(36) NOT NULL, 
	address VARCHAR(17) NOT NULL, 
	name VARCHAR(255), 
	description TEXT, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	internal_info TEXT DEFAULT '{}' NOT NULL, 
	local_link_connection TEXT DEFAULT '{}' NOT NULL, 
	pxe_enabled BOOLEAN DEFAULT 1 NOT NULL, 
	portgroup_uuid VARCHAR(36), 
	physical_network VARCHAR(64), 
	is_smartnic BOOLEAN DEFAULT 0 NOT NULL, 
	vendor VARCHAR(32), 
	category VARCHAR(80), 
	available_for_dynamic_portgroup BOOLEAN DEFAULT 0, 
	CONSTRAINT pk_baremetal_ports PRIMARY KEY (id), 
	CONSTRAINT fk_baremetal_ports_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_baremetal_ports_address UNIQUE (address), 
	CONSTRAINT uq_baremetal_ports_name UNIQUE (name), 
	CONSTRAINT uq_baremetal_ports_uuid UNIQUE (uuid)
);
INSERT INTO baremetal_ports VALUES(1,'1cd456df-406c-4c0c-939f-c94fa84e7fab','2026-11-30T12:05:59.631020+00:00','2026-11-30T12:07:27.642393+00:00','2a4bcc00-f336-4887-831c-f5ebc63e80e0','52:54:00:00:00:01',NULL,NULL,'{}','{"tenant_vif_port_id":"73cd95d4-1a93-49e3-85bf-ea41383c4a69"}','{}',1,NULL,'physnet1',0,NULL,NULL,0);
CREATE TABLE flavor_access (
	flavor_id VARCHAR(255) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_flavor_access PRIMARY KEY (flavor_id, project_id), 
	CONSTRAINT fk_flavor_access_flavor_id FOREIGN KEY(flavor_id) REFERENCES flavors (id) ON DELETE CASCADE
);
CREATE TABLE identity_application_credentials (
	id VARCHAR(64) NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	description TEXT DEFAULT '' NOT NULL, 
	secret_hash VARCHAR(255) NOT NULL, 
	unrestricted BOOLEAN DEFAULT 0 NOT NULL, 
	expires_at VARCHAR(40), 
	role_ids TEXT NOT NULL, 
	CONSTRAINT pk_identity_application_credentials PRIMARY KEY (id), 
	CONSTRAINT fk_identity_application_credentials_project_id FOREIGN KEY(project_id) REFERENCES identity_projects (id) ON DELETE CASCADE, 
	CONSTRAINT fk_identity_application_credentials_user_id FOREIGN KEY(user_id) REFERENCES identity_users (id) ON DELETE CASCADE, 
	CONSTRAINT uq_identity_application_credentials_user_id_name UNIQUE (user_id, name)
);
INSERT INTO identity_application_credentials VALUES('69b77d86a8aa4f88ae84202967b42073','627c1d13b95c454e989d1315527b0ece','a32823b925c34c3bb4b7d7bb6c472ff0','ac1','','$scrypt$ln=15,r=8,p=1$BCJn+oaWo/sV/cDwfsfPNA$FMxWM32tKhj0oTlcdhuW8jc8iQCezbWESNkA7BrEEic',0,NULL,'["688af25646ad47838b585266e4328bc2","4ed66718d84c424ab1d023512221a7bd","28f69182db6c4ac497699f65523c3a85","c384f1fcd7fd416b91ab392352e9e1f3"]');
CREATE TABLE identity_assignments (
	actor_type VARCHAR(8) NOT NULL, 
	actor_id VARCHAR(64) NOT NULL, 
	target_type VARCHAR(8) NOT NULL, 
	target_id VARCHAR(64) NOT NULL, 
	role_id VARCHAR(64) NOT NULL, 
	inherited BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_identity_assignments PRIMARY KEY (actor_type, actor_id, target_type, target_id, role_id, inherited), 
	CONSTRAINT fk_identity_assignments_role_id FOREIGN KEY(role_id) REFERENCES identity_roles (id) ON DELETE CASCADE
);
INSERT INTO identity_assignments VALUES('user','627c1d13b95c454e989d1315527b0ece','project','a32823b925c34c3bb4b7d7bb6c472ff0','688af25646ad47838b585266e4328bc2',0);
INSERT INTO identity_assignments VALUES('user','627c1d13b95c454e989d1315527b0ece','system','all','688af25646ad47838b585266e4328bc2',0);
INSERT INTO identity_assignments VALUES('user','0d774399ac0c4956b9df917bfc304dfb','project','e9932da7b5134d8884d4061bb3735e56','28f69182db6c4ac497699f65523c3a85',0);
CREATE TABLE identity_implied_roles (
	prior_id VARCHAR(64) NOT NULL, 
	implied_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_identity_implied_roles PRIMARY KEY (prior_id, implied_id), 
	CONSTRAINT fk_identity_implied_roles_implied_id FOREIGN KEY(implied_id) REFERENCES identity_roles (id) ON DELETE CASCADE, 
	CONSTRAINT fk_identity_implied_roles_prior_id FOREIGN KEY(prior_id) REFERENCES identity_roles (id) ON DELETE CASCADE
);
INSERT INTO identity_implied_roles VALUES('688af25646ad47838b585266e4328bc2','4ed66718d84c424ab1d023512221a7bd');
INSERT INTO identity_implied_roles VALUES('4ed66718d84c424ab1d023512221a7bd','28f69182db6c4ac497699f65523c3a85');
INSERT INTO identity_implied_roles VALUES('28f69182db6c4ac497699f65523c3a85','c384f1fcd7fd416b91ab392352e9e1f3');
CREATE TABLE identity_memberships (
	group_id VARCHAR(64) NOT NULL, 
	user_id VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_identity_memberships PRIMARY KEY (group_id, user_id), 
	CONSTRAINT fk_identity_memberships_group_id FOREIGN KEY(group_id) REFERENCES identity_groups (id) ON DELETE CASCADE, 
	CONSTRAINT fk_identity_memberships_user_id FOREIGN KEY(user_id) REFERENCES identity_users (id) ON DELETE CASCADE
);
CREATE TABLE image_members (
	image_id VARCHAR(36) NOT NULL, 
	member_id VARCHAR(64) NOT NULL, 
	status VARCHAR(16) DEFAULT 'pending' NOT NULL, 
	created_at VARCHAR(40) NOT NULL, 
	updated_at VARCHAR(40) NOT NULL, 
	CONSTRAINT pk_image_members PRIMARY KEY (image_id, member_id), 
	CONSTRAINT fk_image_members_image_id FOREIGN KEY(image_id) REFERENCES image_images (id) ON DELETE CASCADE
);
CREATE TABLE network_ports (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	revision_number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	tags TEXT NOT NULL, 
	network_id VARCHAR(36) NOT NULL, 
	mac_address VARCHAR(17) NOT NULL, 
	admin_state_up BOOLEAN NOT NULL, 
	device_id VARCHAR(255) NOT NULL, 
	device_owner VARCHAR(255) NOT NULL, 
	host_id VARCHAR(255) NOT NULL, 
	vnic_type VARCHAR(64) NOT NULL, 
	vif_type VARCHAR(64) NOT NULL, 
	profile TEXT NOT NULL, 
	port_security_enabled BOOLEAN NOT NULL, 
	security_groups TEXT NOT NULL, 
	allowed_address_pairs TEXT NOT NULL, 
	CONSTRAINT pk_network_ports PRIMARY KEY (id), 
	CONSTRAINT fk_network_ports_network_id FOREIGN KEY(network_id) REFERENCES networks (id), 
	CONSTRAINT uq_network_ports_network_id_mac_address UNIQUE (network_id, mac_address)
);
INSERT INTO network_ports VALUES('73cd95d4-1a93-49e3-85bf-ea41383c4a69','a32823b925c34c3bb4b7d7bb6c472ff0','',1,'2026-11-30T12:07:36.532662+00:00','2026-11-30T12:07:36.541130+00:00','','[]','7a575360-6f78-47a5-add9-4a5946dad79f','52:54:00:00:00:01',1,'77f65a93-fb88-4b34-b7a2-d209f640473e','compute:nova','2a4bcc00-f336-4887-831c-f5ebc63e80e0','baremetal','other','{}',1,'[]','[]');
CREATE TABLE node_agents (
	node_uuid VARCHAR(36) NOT NULL, 
	token_hash VARCHAR(64), 
	url TEXT, 
	version VARCHAR(32), 
	verify_ca TEXT, 
	last_heartbeat VARCHAR(32), 
	CONSTRAINT pk_node_agents PRIMARY KEY (node_uuid), 
	CONSTRAINT fk_node_agents_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
CREATE TABLE node_followups (
	node_uuid VARCHAR(36) NOT NULL, 
	verb VARCHAR(32) NOT NULL, 
	extras TEXT NOT NULL, 
	requested_by TEXT NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_node_followups PRIMARY KEY (node_uuid), 
	CONSTRAINT fk_node_followups_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
CREATE TABLE node_history (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	node_uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	conductor VARCHAR(255), 
	event_type VARCHAR(255), 
	severity VARCHAR(16) NOT NULL, 
	event TEXT NOT NULL, 
	user VARCHAR(255), 
	project VARCHAR(255), state VARCHAR(20), target_provision_state VARCHAR(20), duration_seconds INTEGER, 
	CONSTRAINT pk_node_history PRIMARY KEY (id), 
	CONSTRAINT fk_node_history_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_node_history_uuid UNIQUE (uuid)
);
INSERT INTO node_history VALUES(1,'a1554a65-ea9e-4b88-81b3-7c057ead6c56','2a4bcc00-f336-4887-831c-f5ebc63e80e0','2026-11-30T12:06:04.688666+00:00','vm','verify','INFO','The controller was verified.','627c1d13b95c454e989d1315527b0ece','a32823b925c34c3bb4b7d7bb6c472ff0','verifying','manageable',0);
INSERT INTO node_history VALUES(2,'1343dbf0-fa95-4538-a7bf-b538dc55264c','2a4bcc00-f336-4887-831c-f5ebc63e80e0','2026-11-30T12:07:29.840306+00:00','vm','cleaning','INFO','Cleaned.','627c1d13b95c454e989d1315527b0ece','a32823b925c34c3bb4b7d7bb6c472ff0','cleaning','available',0);
INSERT INTO node_history VALUES(3,'26651724-4988-4982-9a8d-0f1a290a5af3','2a4bcc00-f336-4887-831c-f5ebc63e80e0','2026-11-30T12:07:36.558681+00:00','vm','deploying','INFO','Deployed.',NULL,NULL,'deploying','active',0);
CREATE TABLE node_inventories (
	node_uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	inventory TEXT NOT NULL, 
	plugin_data TEXT NOT NULL, 
	CONSTRAINT pk_node_inventories PRIMARY KEY (node_uuid), 
	CONSTRAINT fk_node_inventories_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
CREATE TABLE node_secrets (
	node_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(32) NOT NULL, 
	sealed TEXT NOT NULL, 
	CONSTRAINT pk_node_secrets PRIMARY KEY (node_uuid, name), 
	CONSTRAINT fk_node_secrets_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
INSERT INTO node_secrets VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','configdrive','gAAAAABrDWcI-ignc79BHBP4As9AMHCphEV74UX4lM-J7KDkUkoHbel4GJVELK0E8j9K5VWikXussdEu-oCyc3Z-jmgLsVdCdQ3W28rKk62bCWIFYjRDunymGGCgYm_dZH6He3--XtG4LYHfIq4_utI2ICZc-EF-J2ppvQEfotyxchxKBOJlXnY1Y3S-Mek8YoauwqiyGU8pOEMr8q6IT3bfoLm451PajBrKl2gFFlt8Dm-D5AuJM8DJApMLOjgdgHbuvI8fVzxv2aJtUOsQEYtfd1S6l-8JRjd-fXDmKiJgQp_ZoUqu_TDuiwTM5fOqJrBp1YbPpidKkbCxn7JgWLWGuYy44r99sAKYT8RoMIZeVpbtM4AyzoSuws9-1qaX6u6CE07vYbMibD3-qRsMcPhWyBdOyN5rPX8zXd6vPPnob3Og5WRfuQ4oU6c7kc0DcZO8EB67LVCZ2zkcs0cDdFhajy8HsxnkfJZ0O1duJ_9uDs9joU_S7cl6EM7lwHpUxv6-y2EwTc_beOzqrczdLw2BnAOqUBo05PFL7bhOHy86KbRNTsHGL1yJBchK43woerAhYcqX5VT1NI16b_0SpvvqEnTqYkntaIUTaktKT2zIIwytiY9KzF6jd0ayVAnqNXD9ZuCNE8PfFjsTCFqP8HacfxkyvfRdfaggtqVcCGOYp5PmJ-aT1Rhvys1EAz4WnYy3roavLJGj2LdnOE_4WyjjrHRwcqm_Rq7M3vLxyYOJwqrJ8dg70DifKbUhcKYyfi8hwEovZ1A2zspD95sDX1HSb82k26br634PwKHNyJ_XipOr7oPumXNiaovgceDBsIuUrcuqi5rXYF-rt0_F3mz7qxcN5vhaRM0kv9IzIiTHiuwyEoEUmy2vXZOOuigA7D7h2jbGOCInv48Wo0KwqejyGNCzNIHDJT6Oxc8ei45wDHZ89zi5VsmszBYdoSvmvay_1Yx6retfYulu15CiBPKPUnCqZRqDSEZlWJbjkCsQUIns46yog32jel_QYyWQvGgFE3hE6XI5jlJMN2c9JaagQLP1Xl3aNqSbyfL9sNjMGiCHUsRv_nM7ks5wJLyQ8aJYJiXbxC3ymWiIzdGoGtptOlqlUAkd3KNLXIvIFoMIlc7RtZvS5vgi09GiafinwPoHtLLhxZ98xOh2k-yztfMU65Qj34coyOfyA_CDOQQ4jjUZdtMOe5xYvZ4j-tj2jMJZYJnwnpxcFtNRIGo5uZzMFKD7k-V9UD6xsfurdbwWQk1drLXCLtyLVAEo8aY1ecBYWT9kFdEM4KQeGzlL_F-gfzkZNl5jjadpwTpTFyD5aWj85F-e4E-brxjgwiJrUV3ozmip1o0Z207eo8Ti2TkvqjySO8tr1_ZCoiaRVTa54yXlt7Q2Or12It5ROf7O6_Ie0qbDGULFpn5oYSjyz_EWFGPymsdYRZlp9kYz0cgbAATdscZZQYoGHgHhKzr5Jt1RsdGD9Z8IHd5GC3ry3WDtZsKGbbdGLnWG7PlTW6coBuCRrgL8SDOiyiTcIKgCKK48hygHJpWDKggCiR8GA4zU5-EjR06eFZSkTyR0oeITX98uW61xWEsZbXUBWEVXWuC-mZpi-DMBxVE1aoXE5C0EyIZpJ_RYqetUpDcqHdJ2esy9U1hEnr7gbI5TE3d-yx9-cSRTqcmFO7XLmjPX-SbiwxJpllXFI2ryHzAYwgkpUGd1w6gflPbauc-NuUA3LAzuR7A9BfffPhmsSDkDoGDwN2Y05ErEp88xIapdFL07RyFlg9fsGxPLzn-wsXzEoBIveAyXSFbQdSEmRHUfk6stZQvQuHqBgZAo6zka9Fd_tFnIy_m60ibpIBIIZBzJkXX_r0eVRpJzSOPwCdPjkFihQtgeEqQT2BfKuBMImJauLVSwMQHQcdv8bnchX1ZnPlU48UOYzfutLbbPJd0sVLI47zfiqWvHkuomgTOEzJxXsUS5_cApvDJfcHpthG-sGICGG10YTvFeIZrp7mpUy-JHlXKSpeGnSM6qcQIEIpH3DhovmTkGP9s3P_ApFgHDcuPzlAMcXOXsL5A3e7LFYchbtSoeYPVHzyLldr-JIEYbC8JW8zw7lNFEEwLrgpAfV9E2qihXsPd-JVLLK-ATK54_nzbqWa3Q1w==');
CREATE TABLE node_traits (
	node_uuid VARCHAR(36) NOT NULL, 
	trait VARCHAR(255) NOT NULL, 
	CONSTRAINT pk_node_traits PRIMARY KEY (node_uuid, trait), 
	CONSTRAINT fk_node_traits_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
CREATE TABLE security_group_rules (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	revision_number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	security_group_id VARCHAR(36) NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	ethertype VARCHAR(8) NOT NULL, 
	protocol VARCHAR(32), 
	port_range_min INTEGER, 
	port_range_max INTEGER, 
	remote_ip_prefix VARCHAR(64), 
	remote_group_id VARCHAR(36), 
	CONSTRAINT pk_security_group_rules PRIMARY KEY (id), 
	CONSTRAINT fk_security_group_rules_security_group_id FOREIGN KEY(security_group_id) REFERENCES security_groups (id) ON DELETE CASCADE
);
CREATE TABLE signals (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	operation_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	at TEXT NOT NULL, 
	CONSTRAINT fk_signals_operation_id FOREIGN KEY(operation_id) REFERENCES operations (id) ON DELETE CASCADE
);
CREATE TABLE steps (
	operation_id TEXT NOT NULL, 
	seq INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	"key" TEXT, 
	sort TEXT NOT NULL, 
	state TEXT NOT NULL, 
	attempt INTEGER NOT NULL, 
	result TEXT, 
	fault TEXT, 
	started_at TEXT NOT NULL, 
	deadline_at TEXT, 
	ended_at TEXT, 
	duration FLOAT, 
	CONSTRAINT pk_steps PRIMARY KEY (operation_id, seq), 
	CONSTRAINT fk_steps_operation_id FOREIGN KEY(operation_id) REFERENCES operations (id) ON DELETE CASCADE
);
INSERT INTO steps VALUES('4ccbf650-67d2-4687-a1eb-ee234e32c118',0,'ask the controller',NULL,'step','done',1,'"power off"',NULL,'2026-11-30T12:06:04.653391+00:00','2026-11-30T12:09:04.653391+00:00','2026-11-30T12:06:04.658343+00:00',0.0049519999999999998047);
INSERT INTO steps VALUES('4ccbf650-67d2-4687-a1eb-ee234e32c118',1,'forget the old identity',NULL,'commit','done',1,'null',NULL,'2026-11-30T12:06:04.663991+00:00',NULL,'2026-11-30T12:06:04.665874+00:00',0.0018829999999999999082);
INSERT INTO steps VALUES('4ccbf650-67d2-4687-a1eb-ee234e32c118',2,'prove the controller',NULL,'step','done',1,'{"identity":{"uuid":"af421f85-60f4-51a7-9cb8-3bbd2ac08853","serial":"FAKEAF421F8560","manufacturer":"Imaginary","model":"Fake","macs":["02:af:42:1f:85:60"]},"new":true}',NULL,'2026-11-30T12:06:04.670544+00:00','2026-11-30T12:09:04.670544+00:00','2026-11-30T12:06:04.671005+00:00',0.000460999999999999984);
INSERT INTO steps VALUES('4ccbf650-67d2-4687-a1eb-ee234e32c118',3,'read the machine''s settings',NULL,'step','done',1,'{"boot_mode":"uefi","secure_boot":false,"bios":[{"name":"asset_tag","value":"","attribute_type":"String","allowable_values":null,"lower_bound":null,"upper_bound":null,"min_length":0,"max_length":16,"read_only":null,"reset_required":null,"unique":true},{"name":"hyperthreading","value":"on","attribute_type":"Enumeration","allowable_values":["on","off"],"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":false,"reset_required":true,"unique":null},{"name":"memory_speed","value":"2933","attribute_type":"Integer","allowable_values":null,"lower_bound":2133,"upper_bound":3200,"min_length":null,"max_length":null,"read_only":null,"reset_required":true,"unique":null},{"name":"serial_number_label","value":"FAKE","attribute_type":"String","allowable_values":null,"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":true,"reset_required":null,"unique":null},{"name":"virtualization","value":"on","attribute_type":"Enumeration","allowable_values":["on","off"],"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":false,"reset_required":true,"unique":null}],"firmware":[{"component":"bios","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"},{"component":"bmc","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"},{"component":"nic:eth0","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"}]}',NULL,'2026-11-30T12:06:04.678801+00:00','2026-11-30T12:09:04.678801+00:00','2026-11-30T12:06:04.679495+00:00',0.00069399999999999995546);
INSERT INTO steps VALUES('353284ae-3b10-4f55-91b5-6f3095d7210f',0,'prove the controller',NULL,'step','done',1,'{"identity":{"uuid":"af421f85-60f4-51a7-9cb8-3bbd2ac08853","serial":"FAKEAF421F8560","manufacturer":"Imaginary","model":"Fake","macs":["02:af:42:1f:85:60"]},"new":false}',NULL,'2026-11-30T12:07:29.806093+00:00','2026-11-30T12:10:29.806093+00:00','2026-11-30T12:07:29.806831+00:00',0.00073800000000000004918);
INSERT INTO steps VALUES('353284ae-3b10-4f55-91b5-6f3095d7210f',1,'show the clean step','1 vendor.log_passthrough','commit','done',1,'null',NULL,'2026-11-30T12:07:29.814505+00:00',NULL,'2026-11-30T12:07:29.815285+00:00',0.00077999999999999998587);
INSERT INTO steps VALUES('353284ae-3b10-4f55-91b5-6f3095d7210f',2,'clean step','1 vendor.log_passthrough','step','done',1,'{"done":true,"memo":{},"restart":false,"wait":10.0,"note":"","raid_config":null}',NULL,'2026-11-30T12:07:29.821254+00:00','2026-12-01T12:07:29.821254+00:00','2026-11-30T12:07:29.821727+00:00',0.00047300000000000000464);
INSERT INTO steps VALUES('353284ae-3b10-4f55-91b5-6f3095d7210f',3,'read the machine''s settings',NULL,'step','done',1,'{"boot_mode":null,"secure_boot":null,"bios":[{"name":"asset_tag","value":"","attribute_type":"String","allowable_values":null,"lower_bound":null,"upper_bound":null,"min_length":0,"max_length":16,"read_only":null,"reset_required":null,"unique":true},{"name":"hyperthreading","value":"on","attribute_type":"Enumeration","allowable_values":["on","off"],"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":false,"reset_required":true,"unique":null},{"name":"memory_speed","value":"2933","attribute_type":"Integer","allowable_values":null,"lower_bound":2133,"upper_bound":3200,"min_length":null,"max_length":null,"read_only":null,"reset_required":true,"unique":null},{"name":"serial_number_label","value":"FAKE","attribute_type":"String","allowable_values":null,"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":true,"reset_required":null,"unique":null},{"name":"virtualization","value":"on","attribute_type":"Enumeration","allowable_values":["on","off"],"lower_bound":null,"upper_bound":null,"min_length":null,"max_length":null,"read_only":false,"reset_required":true,"unique":null}],"firmware":[{"component":"bios","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"},{"component":"bmc","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"},{"component":"nic:eth0","current_version":"1.0","vendor":"Imaginary","model":"Fake","serial_number":"FAKEAF421F8560"}]}',NULL,'2026-11-30T12:07:29.827096+00:00','2026-11-30T12:10:29.827096+00:00','2026-11-30T12:07:29.827664+00:00',0.00056800000000000003697);
INSERT INTO steps VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e',0,'look at the image',NULL,'step','done',1,'[]',NULL,'2026-11-30T12:07:36.521248+00:00','2026-11-30T12:08:36.521248+00:00','2026-11-30T12:07:36.521550+00:00',0.00030200000000000002233);
INSERT INTO steps VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e',1,'find a machine','1','commit','done',1,'{"node":"2a4bcc00-f336-4887-831c-f5ebc63e80e0","name":"n1"}',NULL,'2026-11-30T12:07:36.522305+00:00',NULL,'2026-11-30T12:07:36.530029+00:00',0.007723999999999999963);
INSERT INTO steps VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e',2,'make the network ports',NULL,'commit','done',1,'1',NULL,'2026-11-30T12:07:36.530987+00:00',NULL,'2026-11-30T12:07:36.535345+00:00',0.0043579999999999998946);
INSERT INTO steps VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e',3,'start the deploy','1','commit','done',1,'{"operation":"5aa4eb79-d887-4b39-87ef-4d5e813ead5d"}',NULL,'2026-11-30T12:07:36.536070+00:00',NULL,'2026-11-30T12:07:36.548827+00:00',0.012756999999999999242);
INSERT INTO steps VALUES('3284de4e-98c3-4092-843f-1b13f78f1d5e',4,'wait for the deploy','1','wait','done',1,'{"ok":true}',NULL,'2026-11-30T12:07:36.549495+00:00','2026-11-30T18:07:36.549495+00:00','2026-11-30T12:07:36.562630+00:00',0.013135000000000000841);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',0,'choose the deploy steps',NULL,'commit','done',1,'[]',NULL,'2026-11-30T12:07:36.551052+00:00',NULL,'2026-11-30T12:07:36.552195+00:00',0.0011429999999999999188);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',1,'show the deploy step','1 deploy.deploy','commit','done',1,'null',NULL,'2026-11-30T12:07:36.552559+00:00',NULL,'2026-11-30T12:07:36.553134+00:00',0.00057499999999999999028);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',2,'deploy step','1 deploy.deploy','step','done',1,'{"done":true,"memo":{},"restart":false,"wait":10.0,"note":"","raid_config":null}',NULL,'2026-11-30T12:07:36.553689+00:00','2026-12-01T12:07:36.553689+00:00','2026-11-30T12:07:36.554075+00:00',0.00038600000000000000413);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',3,'boot from disk from now on',NULL,'step','done',1,'null',NULL,'2026-11-30T12:07:36.554957+00:00','2026-11-30T12:10:36.554957+00:00','2026-11-30T12:07:36.555158+00:00',0.00020100000000000000678);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',4,'attach the instance''s networks',NULL,'commit','done',1,'[]',NULL,'2026-11-30T12:07:36.556136+00:00',NULL,'2026-11-30T12:07:36.556309+00:00',0.00017300000000000000381);
INSERT INTO steps VALUES('5aa4eb79-d887-4b39-87ef-4d5e813ead5d',5,'start the instance',NULL,'step','done',1,'"power on"',NULL,'2026-11-30T12:07:36.556819+00:00','2026-11-30T12:10:36.556819+00:00','2026-11-30T12:07:36.557067+00:00',0.0002480000000000000108);
CREATE TABLE subnets (
	id VARCHAR(36) NOT NULL, 
	project_id VARCHAR(64) NOT NULL, 
	description TEXT NOT NULL, 
	revision_number INTEGER NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	tags TEXT NOT NULL, 
	network_id VARCHAR(36) NOT NULL, 
	ip_version INTEGER NOT NULL, 
	cidr VARCHAR(64) NOT NULL, 
	gateway_ip VARCHAR(64), 
	enable_dhcp BOOLEAN NOT NULL, 
	allocation_pools TEXT NOT NULL, 
	dns_nameservers TEXT NOT NULL, 
	host_routes TEXT NOT NULL, 
	CONSTRAINT pk_subnets PRIMARY KEY (id), 
	CONSTRAINT fk_subnets_network_id FOREIGN KEY(network_id) REFERENCES networks (id)
);
INSERT INTO subnets VALUES('8b5ae6c7-07c9-4e00-b543-aa017ba3d166','a32823b925c34c3bb4b7d7bb6c472ff0','',0,'2026-11-30T12:07:22.046423+00:00','2026-11-30T12:07:22.046423+00:00','sub1','[]','7a575360-6f78-47a5-add9-4a5946dad79f',4,'10.9.0.0/24','10.9.0.1',1,'[{"start":"10.9.0.2","end":"10.9.0.254"}]','[]','[]');
CREATE TABLE network_fixed_ips (
	port_id VARCHAR(36) NOT NULL, 
	position INTEGER NOT NULL, 
	subnet_id VARCHAR(36) NOT NULL, 
	ip_address VARCHAR(64) NOT NULL, 
	CONSTRAINT pk_network_fixed_ips PRIMARY KEY (subnet_id, ip_address), 
	CONSTRAINT fk_network_fixed_ips_port_id FOREIGN KEY(port_id) REFERENCES network_ports (id) ON DELETE CASCADE, 
	CONSTRAINT fk_network_fixed_ips_subnet_id FOREIGN KEY(subnet_id) REFERENCES subnets (id)
);
INSERT INTO network_fixed_ips VALUES('73cd95d4-1a93-49e3-85bf-ea41383c4a69',0,'8b5ae6c7-07c9-4e00-b543-aa017ba3d166','10.9.0.2');
CREATE TABLE chassis (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	description VARCHAR(255), 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_chassis PRIMARY KEY (id), 
	CONSTRAINT uq_chassis_uuid UNIQUE (uuid)
);
CREATE TABLE portgroups (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	node_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	address VARCHAR(17), 
	mode VARCHAR(255), 
	properties TEXT DEFAULT '{}' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	internal_info TEXT DEFAULT '{}' NOT NULL, 
	standalone_ports_supported BOOLEAN DEFAULT 1 NOT NULL, 
	physical_network VARCHAR(64), 
	category VARCHAR(80), 
	dynamic_portgroup BOOLEAN DEFAULT 0 NOT NULL, 
	CONSTRAINT pk_portgroups PRIMARY KEY (id), 
	CONSTRAINT fk_portgroups_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_portgroups_address UNIQUE (address), 
	CONSTRAINT uq_portgroups_name UNIQUE (name), 
	CONSTRAINT uq_portgroups_uuid UNIQUE (uuid)
);
CREATE TABLE volume_connectors (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	node_uuid VARCHAR(36) NOT NULL, 
	type VARCHAR(32) NOT NULL, 
	connector_id VARCHAR(255) NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_volume_connectors PRIMARY KEY (id), 
	CONSTRAINT fk_volume_connectors_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_volume_connectors_type_connector_id UNIQUE (type, connector_id), 
	CONSTRAINT uq_volume_connectors_uuid UNIQUE (uuid)
);
CREATE TABLE volume_targets (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	node_uuid VARCHAR(36) NOT NULL, 
	volume_type VARCHAR(64) NOT NULL, 
	boot_index BIGINT NOT NULL, 
	volume_id VARCHAR(255) NOT NULL, 
	properties TEXT DEFAULT '{}' NOT NULL, 
	sealed TEXT, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_volume_targets PRIMARY KEY (id), 
	CONSTRAINT fk_volume_targets_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_volume_targets_node_uuid_boot_index UNIQUE (node_uuid, boot_index), 
	CONSTRAINT uq_volume_targets_uuid UNIQUE (uuid)
);
CREATE TABLE allocations (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255), 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	node_uuid VARCHAR(36), 
	state VARCHAR(15) NOT NULL, 
	last_error TEXT, 
	owner VARCHAR(255), 
	resource_class VARCHAR(80), 
	traits TEXT DEFAULT '[]' NOT NULL, 
	candidate_nodes TEXT DEFAULT '[]' NOT NULL, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_allocations PRIMARY KEY (id), 
	CONSTRAINT fk_allocations_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE, 
	CONSTRAINT uq_allocations_name UNIQUE (name), 
	CONSTRAINT uq_allocations_uuid UNIQUE (uuid)
);
CREATE TABLE deploy_templates (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	description VARCHAR(255), 
	steps TEXT NOT NULL, 
	sealed TEXT, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_deploy_templates PRIMARY KEY (id), 
	CONSTRAINT uq_deploy_templates_name UNIQUE (name), 
	CONSTRAINT uq_deploy_templates_uuid UNIQUE (uuid)
);
CREATE TABLE runbooks (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	description VARCHAR(255), 
	owner VARCHAR(255), 
	public BOOLEAN DEFAULT 0 NOT NULL, 
	disable_ramdisk BOOLEAN DEFAULT 0 NOT NULL, 
	traits TEXT DEFAULT '[]' NOT NULL, 
	steps TEXT NOT NULL, 
	sealed TEXT, 
	extra TEXT DEFAULT '{}' NOT NULL, 
	CONSTRAINT pk_runbooks PRIMARY KEY (id), 
	CONSTRAINT uq_runbooks_name UNIQUE (name), 
	CONSTRAINT uq_runbooks_uuid UNIQUE (uuid)
);
CREATE TABLE node_steps (
	node_uuid VARCHAR(36) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	seen_at VARCHAR(32) NOT NULL, 
	steps TEXT NOT NULL, 
	CONSTRAINT pk_node_steps PRIMARY KEY (node_uuid, kind), 
	CONSTRAINT fk_node_steps_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
CREATE TABLE inspection_rules (
	id INTEGER NOT NULL, 
	uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	description VARCHAR(255), 
	priority INTEGER DEFAULT '0' NOT NULL, 
	phase VARCHAR(16) DEFAULT 'main' NOT NULL, 
	sensitive BOOLEAN DEFAULT 0 NOT NULL, 
	conditions TEXT, 
	actions TEXT, 
	sealed TEXT, 
	CONSTRAINT pk_inspection_rules PRIMARY KEY (id), 
	CONSTRAINT uq_inspection_rules_uuid UNIQUE (uuid)
);
CREATE TABLE node_bios (
	node_uuid VARCHAR(36) NOT NULL, 
	name VARCHAR(255) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	value TEXT, 
	attribute_type VARCHAR(255), 
	allowable_values TEXT, 
	lower_bound BIGINT, 
	upper_bound BIGINT, 
	min_length BIGINT, 
	max_length BIGINT, 
	read_only BOOLEAN, 
	reset_required BOOLEAN, 
	"unique" BOOLEAN, 
	CONSTRAINT pk_node_bios PRIMARY KEY (node_uuid, name), 
	CONSTRAINT fk_node_bios_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
INSERT INTO node_bios VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','asset_tag','2026-11-30T12:06:04.680293+00:00',NULL,'','String',NULL,NULL,NULL,0,16,NULL,NULL,1);
INSERT INTO node_bios VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','hyperthreading','2026-11-30T12:06:04.680293+00:00',NULL,'on','Enumeration','["on","off"]',NULL,NULL,NULL,NULL,0,1,NULL);
INSERT INTO node_bios VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','memory_speed','2026-11-30T12:06:04.680293+00:00',NULL,'2933','Integer',NULL,2133,3200,NULL,NULL,NULL,1,NULL);
INSERT INTO node_bios VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','serial_number_label','2026-11-30T12:06:04.680293+00:00',NULL,'FAKE','String',NULL,NULL,NULL,NULL,NULL,1,NULL,NULL);
INSERT INTO node_bios VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','virtualization','2026-11-30T12:06:04.680293+00:00',NULL,'on','Enumeration','["on","off"]',NULL,NULL,NULL,NULL,0,1,NULL);
CREATE TABLE node_firmware (
	node_uuid VARCHAR(36) NOT NULL, 
	component VARCHAR(255) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	updated_at VARCHAR(32), 
	initial_version VARCHAR(255), 
	current_version VARCHAR(255), 
	last_version_flashed VARCHAR(255), 
	vendor VARCHAR(255), 
	model VARCHAR(255), 
	serial_number VARCHAR(255), 
	CONSTRAINT pk_node_firmware PRIMARY KEY (node_uuid, component), 
	CONSTRAINT fk_node_firmware_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
INSERT INTO node_firmware VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','bios','2026-11-30T12:06:04.680293+00:00',NULL,'1.0','1.0',NULL,'Imaginary','Fake','FAKEAF421F8560');
INSERT INTO node_firmware VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','bmc','2026-11-30T12:06:04.680293+00:00',NULL,'1.0','1.0',NULL,'Imaginary','Fake','FAKEAF421F8560');
INSERT INTO node_firmware VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','nic:eth0','2026-11-30T12:06:04.680293+00:00',NULL,'1.0','1.0',NULL,'Imaginary','Fake','FAKEAF421F8560');
CREATE TABLE node_consoles (
	node_uuid VARCHAR(36) NOT NULL, 
	created_at VARCHAR(32) NOT NULL, 
	port INTEGER, 
	url VARCHAR(255), 
	CONSTRAINT pk_node_consoles PRIMARY KEY (node_uuid), 
	CONSTRAINT fk_node_consoles_node_uuid FOREIGN KEY(node_uuid) REFERENCES nodes (uuid) ON DELETE CASCADE
);
INSERT INTO node_consoles VALUES('2a4bcc00-f336-4887-831c-f5ebc63e80e0','2026-11-30T12:06:03.347987+00:00',21000,'tcp://127.0.0.1:21000');
CREATE TABLE network_dhcp_changes (
	port_id VARCHAR(36) NOT NULL, 
	generation INTEGER NOT NULL, 
	changed_at VARCHAR(32) NOT NULL, 
	CONSTRAINT pk_network_dhcp_changes PRIMARY KEY (port_id)
);
INSERT INTO network_dhcp_changes VALUES('',2,'2026-11-30T12:07:22.047744+00:00');
INSERT INTO network_dhcp_changes VALUES('73cd95d4-1a93-49e3-85bf-ea41383c4a69',4,'2026-11-30T12:07:36.541958+00:00');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('events',41);
INSERT INTO sqlite_sequence VALUES('servers',1);
INSERT INTO sqlite_sequence VALUES('signals',1);
CREATE INDEX ix_conductors_host ON conductors (host);
CREATE INDEX ix_events_at ON events (at);
CREATE INDEX ix_events_operation_id_id ON events (operation_id, id);
CREATE INDEX ix_events_subject_id ON events (subject, id);
CREATE INDEX ix_identity_endpoints_service_id ON identity_endpoints (service_id);
CREATE INDEX ix_identity_projects_parent_id ON identity_projects (parent_id);
CREATE INDEX ix_identity_revocations_expires_at ON identity_revocations (expires_at);
CREATE INDEX ix_image_images_created ON image_images (created_at, id);
CREATE INDEX ix_image_images_owner ON image_images (owner);
CREATE INDEX ix_networks_name ON networks (name);
CREATE INDEX ix_networks_project_id ON networks (project_id);
CREATE INDEX ix_nodes_lessee ON nodes (lessee);
CREATE INDEX ix_nodes_owner ON nodes (owner);
CREATE INDEX ix_nodes_provision_state ON nodes (provision_state);
CREATE INDEX ix_nodes_resource_class ON nodes (resource_class);
CREATE INDEX ix_operations_ended_at ON operations (ended_at);
CREATE INDEX ix_operations_kind_profile_ended_at ON operations (kind, profile, ended_at);
CREATE INDEX ix_operations_owner ON operations (owner) WHERE ended_at IS NULL AND owner IS NOT NULL;
CREATE INDEX ix_operations_subject_created_at ON operations (subject, created_at);
CREATE INDEX ix_operations_wake_at ON operations (wake_at) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX uq_operations_live_subject ON operations (subject) WHERE ended_at IS NULL;
CREATE INDEX ix_security_groups_name ON security_groups (name);
CREATE INDEX ix_security_groups_project_id ON security_groups (project_id);
CREATE INDEX ix_server_groups_project_id ON server_groups (project_id);
CREATE INDEX ix_servers_node_uuid ON servers (node_uuid);
CREATE INDEX ix_servers_project_id ON servers (project_id);
CREATE INDEX ix_servers_task_state ON servers (task_state);
CREATE INDEX ix_baremetal_ports_node_uuid ON baremetal_ports (node_uuid);
CREATE INDEX ix_identity_assignments_target ON identity_assignments (target_type, target_id);
CREATE INDEX ix_identity_memberships_user_id ON identity_memberships (user_id);
CREATE INDEX ix_image_members_member_id ON image_members (member_id);
CREATE INDEX ix_network_ports_device_id ON network_ports (device_id);
CREATE INDEX ix_network_ports_name ON network_ports (name);
CREATE INDEX ix_network_ports_project_id ON network_ports (project_id);
CREATE INDEX ix_node_history_node_uuid ON node_history (node_uuid);
CREATE INDEX ix_node_traits_trait ON node_traits (trait);
CREATE INDEX ix_security_group_rules_project_id ON security_group_rules (project_id);
CREATE INDEX ix_security_group_rules_security_group_id ON security_group_rules (security_group_id);
CREATE INDEX ix_signals_operation_id_name_id ON signals (operation_id, name, id);
CREATE INDEX ix_subnets_name ON subnets (name);
CREATE INDEX ix_subnets_network_id ON subnets (network_id);
CREATE INDEX ix_subnets_project_id ON subnets (project_id);
CREATE INDEX ix_network_fixed_ips_ip_address ON network_fixed_ips (ip_address);
CREATE INDEX ix_network_fixed_ips_port_id ON network_fixed_ips (port_id);
CREATE INDEX ix_portgroups_node_uuid ON portgroups (node_uuid);
CREATE INDEX ix_volume_connectors_node_uuid ON volume_connectors (node_uuid);
CREATE INDEX ix_baremetal_ports_portgroup_uuid ON baremetal_ports (portgroup_uuid);
CREATE INDEX ix_allocations_node_uuid ON allocations (node_uuid);
CREATE INDEX ix_allocations_owner ON allocations (owner);
CREATE INDEX ix_runbooks_owner ON runbooks (owner);
CREATE INDEX ix_nodes_free ON nodes (resource_class, uuid) WHERE provision_state = 'available' AND instance_uuid IS NULL;
CREATE INDEX ix_network_dhcp_changes_generation ON network_dhcp_changes (generation);
COMMIT;
